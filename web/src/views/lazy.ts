/*
 * The components that the first view does not need. They are loaded on demand, so that the first
 * visit over a slow connection is short.
 */
export { default as Menu } from '../components/Menu.svelte';
export { default as HandOver } from '../components/HandOver.svelte';
export { default as History } from './History.svelte';
export { default as Readiness } from './Readiness.svelte';
export { default as Replay } from './Replay.svelte';
export { default as Report } from './Report.svelte';
export { default as SignIn } from './SignIn.svelte';
