import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// `npm run dev` shows the page with the data of a server of imagen at this address.
const server = process.env.IMAGEN_SERVER ?? "http://127.0.0.1:8080";

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
    // A file of its own for each icon would take longer for its headers than for itself.
    rolldownOptions: {
      output: { codeSplitting: { groups: [{ name: "icons", test: /@lucide/ }] } },
    },
  },
  // The server refuses changes that come from the page of another origin.
  server: {
    proxy: { "/api": { target: server, changeOrigin: true, headers: { Origin: server } } },
  },
});
