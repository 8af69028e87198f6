/*
 * What is beside the incident, and of no use before somebody goes there: it comes when it is wanted,
 * so that the first visit over a bad line is shorter.
 */
export { default as Menu } from '../components/Menu.svelte';
export { default as NextAgent } from '../components/NextAgent.svelte';
export { default as History } from './History.svelte';
export { default as Readiness } from './Readiness.svelte';
export { default as Replay } from './Replay.svelte';
export { default as Report } from './Report.svelte';
export { default as SignIn } from './SignIn.svelte';
