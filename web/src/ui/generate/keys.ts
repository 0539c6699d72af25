/** The keys that generate, wherever the focus is. */
import { preferences, router, screen, shortcuts } from "$ui/app.svelte";
import { generating } from "$ui/generate/state.svelte";

const SHOWN_AFTER = 50;

/** Make the keys of the form active until the returned function is called. */
export function addGenerateKeys(): () => void {
  return shortcuts.add([
    {
      id: "generate.submit",
      keys: "Ctrl+Enter",
      inFields: true,
      run: () => void generating.generate(),
    },
    {
      id: "generate.front",
      keys: "Ctrl+Shift+Enter",
      inFields: true,
      run: () => void generating.generate({ toFront: true }),
    },
    { id: "generate.prompt", keys: "Alt+A", inFields: true, run: focusPrompt },
    {
      id: "generate.panel",
      keys: "t",
      run: () => preferences.set({ isPanelShown: !preferences.values.isPanelShown }),
    },
  ]);
}

/** Show the form if it is hidden, and put the cursor into the prompt. */
export function focusPrompt(): void {
  if (screen.isDesktop) preferences.set({ isPanelShown: true });
  else if (router.place.query.get("panel") !== "generate") {
    router.setQuery({ panel: "generate" }, { push: true });
  }
  setTimeout(() => document.getElementById("prompt")?.focus(), SHOWN_AFTER);
}
