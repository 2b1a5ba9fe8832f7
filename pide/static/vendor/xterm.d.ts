// Types of what scripts/vendor_static.py takes from xterm.js: only as much as this app uses.
export interface Disposable {
  dispose(): void;
}
export interface Buffer {
  readonly type: "normal" | "alternate";
  readonly cursorY: number;
  readonly viewportY: number;
  readonly baseY: number;
  readonly length: number;
}
export interface FunctionIdentifier {
  prefix?: string;
  intermediates?: string;
  final: string;
}
export interface Options {
  allowProposedApi?: boolean;
  convertEol?: boolean;
  cols?: number;
  cursorBlink?: boolean;
  disableStdin?: boolean;
  documentOverride?: Document;
  fontFamily?: string;
  fontSize?: number;
  lineHeight?: number;
  macOptionIsMeta?: boolean;
  minimumContrastRatio?: number;
  rightClickSelectsWord?: boolean;
  rows?: number;
  screenReaderMode?: boolean;
  scrollback?: number;
  theme?: Record<string, string>;
}
export class Terminal implements Disposable {
  constructor(options?: Options);
  readonly cols: number;
  readonly rows: number;
  readonly element: HTMLElement | undefined;
  readonly textarea: HTMLTextAreaElement | undefined;
  readonly buffer: { readonly active: Buffer };
  readonly modes: { readonly applicationCursorKeysMode: boolean; readonly bracketedPasteMode: boolean };
  readonly options: Options;
  readonly parser: {
    registerCsiHandler(id: FunctionIdentifier, callback: () => boolean): Disposable;
    registerDcsHandler(id: FunctionIdentifier, callback: () => boolean): Disposable;
    registerOscHandler(code: number, callback: (data: string) => boolean): Disposable;
  };
  attachCustomKeyEventHandler(handler: (event: KeyboardEvent) => boolean): void;
  blur(): void;
  clearSelection(): void;
  dispose(): void;
  focus(): void;
  getSelection(): string;
  input(data: string, wasUserInput?: boolean): void;
  loadAddon(addon: object): void;
  onBinary(listener: (data: string) => void): Disposable;
  onData(listener: (data: string) => void): Disposable;
  onScroll(listener: () => void): Disposable;
  open(parent: HTMLElement): void;
  paste(data: string): void;
  reset(): void;
  resize(cols: number, rows: number): void;
  scrollLines(amount: number): void;
  scrollToBottom(): void;
  scrollToLine(line: number): void;
  write(data: string | Uint8Array, done?: () => void): void;
}
export class FitAddon {
  proposeDimensions(): { cols: number; rows: number } | undefined;
}
export const xtermDocument: Document;
