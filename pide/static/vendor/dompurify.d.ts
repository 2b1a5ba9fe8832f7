// Types of what this app uses of DOMPurify.
declare const purify: {
  sanitize(dirty: string, options?: object): string;
  addHook(name: string, hook: (node: Element) => void): void;
};
export default purify;
