/** The keys that generate, wherever the focus is. */
import { preferences, router, screen, shortcuts } from "$ui/app.svelte";
import { generating } from "$ui/generate/state.svelte";

const SHOWN_AFTER = 50;

/** Make the keys of the form active until the returned function is called. */
export function addGenerateKeys(): () => void {
  return shortcuts.add(
    {
      "generate.submit": () => void generating.generate(),
      "generate.front": () => void generating.generate({ toFront: true }),
      "generate.prompt": focusPrompt,
      "generate.panel": () => preferences.set({ isPanelShown: !preferences.values.isPanelShown }),
    },
    () => document.getElementById("prompt"),
  );
}

/** Show the form if it is hidden, and put the cursor into the prompt. */
export function focusPrompt(): void {
  if (screen.isDesktop) preferences.set({ isPanelShown: true });
  else if (router.place.query.get("panel") !== "generate") {
    router.setQuery({ panel: "generate" }, { push: true });
  }
  setTimeout(() => document.getElementById("prompt")?.focus(), SHOWN_AFTER);
}
