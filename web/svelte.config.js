import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    runes: true,
    // A short hash of the file name: it is repeated for each class in the script and the style sheet.
    cssHash: ({ filename, hash }) => `s-${hash(filename.replace(/^.*\/src\//, '')).slice(0, 4)}`,
  },
};
