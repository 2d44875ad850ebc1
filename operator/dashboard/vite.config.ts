import { defineConfig } from "vitest/config";

// File names carry no hash: the server answers them with an ETag and "no-cache", and the built folder never piles up.
export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../openbell/web/static",
    emptyOutDir: false,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    target: "es2022",
    rollupOptions: {
      output: {
        entryFileNames: "assets/app.js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/app[extname]",
      },
    },
  },
  server: { host: "127.0.0.1", proxy: { "/api": "http://127.0.0.1:8021", "/ws": { target: "ws://127.0.0.1:8021", ws: true } } },
  test: { include: ["src/**/*.test.ts"] },
});
