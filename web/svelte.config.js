import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    runes: true,
    // Of the file's name alone: as short as can be, since each class is said in script and style.
    cssHash: ({ filename, hash }) => `s-${hash(filename.replace(/^.*\/src\//, '')).slice(0, 4)}`,
  },
};
