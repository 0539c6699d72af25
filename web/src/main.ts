import { mount } from "svelte";

import "./styles/tokens.css";
import "./styles/base.css";
import App from "./ui/App.svelte";
import { preferences, shortcuts, translator } from "./ui/app.svelte";

const dark = matchMedia("(prefers-color-scheme: dark)");

function applyTheme(): void {
  const { theme } = preferences.values;
  const system = dark.matches ? "dark" : "light";
  document.documentElement.dataset.theme = theme === "system" ? system : theme;
}

async function applyLocale(): Promise<void> {
  await translator.use(preferences.values.locale || navigator.language);
  document.documentElement.lang = translator.locale;
}

applyTheme();
dark.addEventListener("change", applyTheme);
preferences.subscribe(applyTheme);
let locale = preferences.values.locale;
preferences.subscribe(() => {
  if (preferences.values.locale !== locale) {
    locale = preferences.values.locale;
    void applyLocale();
  }
});
addEventListener("keydown", (event) => shortcuts.handle(event));
await applyLocale();
mount(App, { target: document.getElementById("app") as HTMLElement });
