// Types of what scripts/vendor_static.py takes from lit-html: only as much as this app uses.
export type TemplateResult = { readonly _$litType$: number; strings: TemplateStringsArray; values: unknown[] };
export function html(strings: TemplateStringsArray, ...values: unknown[]): TemplateResult;
export function svg(strings: TemplateStringsArray, ...values: unknown[]): TemplateResult;
export function render(value: unknown, container: HTMLElement): unknown;
export const nothing: unique symbol;
export const noChange: unique symbol;
export function repeat<T>(items: Iterable<T>, key: (item: T) => unknown, template: (item: T, index: number) => unknown): unknown;
export function guard(dependencies: unknown[], template: () => unknown): unknown;
export function keyed(key: unknown, value: unknown): unknown;
export function live(value: unknown): unknown;
export function unsafeHTML(value: string): unknown;
export function ref(callback: ((element: Element | undefined) => void) | { value?: Element }): unknown;
export function createRef<T extends Element>(): { value?: T };
