// Types of what this app uses of marked.
export type Token = { type: string; raw: string; text: string; lang?: string; href?: string; title?: string | null; tokens?: Token[]; checked?: boolean; [more: string]: unknown };
export type Renderer = { parser: { parseInline(tokens: Token[]): string } };
export class Marked {
  constructor(options?: {
    gfm?: boolean;
    breaks?: boolean;
    async?: false;
    renderer?: { [name: string]: (this: Renderer, token: Token) => string | false };
  });
  parse(source: string): string;
  lexer(source: string): Token[];
}
