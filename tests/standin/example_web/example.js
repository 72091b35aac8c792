// A custom node's script for the browser.
export const name = "example";
