import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// `npm run dev` shows the page with the data of a server of imagen at this address.
const server = process.env.IMAGEN_SERVER ?? "http://127.0.0.1:8080";

type GetModule = (id: string) => { isEntry: boolean; importers: string[] } | null;

/** Whether the page imports a module at its start, and not only once a view is opened. */
function isAtStart(id: string, getModule: GetModule, seen = new Set<string>()): boolean {
  if (seen.has(id)) return false;
  seen.add(id);
  const module = getModule(id);
  if (!module) return false;
  return module.isEntry || module.importers.some((one) => isAtStart(one, getModule, seen));
}

export default defineConfig({
  base: "./",
  plugins: [svelte()],
  resolve: { alias: { $lib: "/src/lib", $ui: "/src/ui" } },
  build: {
    outDir: "../imagen/server/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    license: { fileName: "licenses.txt" },
    // What the page begins with is one file, and so are other icons: many small files would take
    // longer for their headers than for themselves.
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [
            {
              name: (id, context) =>
                isAtStart(id, (one) => context.getModuleInfo(one)) ? "start" : null,
            },
            { name: "icons", test: /@lucide/ },
          ],
        },
      },
    },
  },
  // The server refuses changes that come from the page of another origin.
  server: {
    proxy: { "/api": { target: server, changeOrigin: true, headers: { Origin: server } } },
  },
});
