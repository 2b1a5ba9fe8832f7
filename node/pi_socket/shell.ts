/**
 * A shell command taken apart, as far as it can be without running it: its simple commands, their words and where
 * they write to. Pure. It is for saying what deserves a look, not for proving what is harmless.
 */

export interface SimpleCommand {
  /** Words without their quotes; a word that is computed keeps its `$`. */
  words: string[];
  /** Targets of `>` and `>>`. */
  writes: string[];
}

export interface Script {
  commands: SimpleCommand[];
  /** What stands in `$(…)`, backticks and `<(…)`: it runs too. */
  nested: string[];
}

/** Quotes that end nowhere, or nesting beyond all sense. */
export class Unreadable extends Error {}

const MAX_CHARS = 100_000;

export function takeApart(text: string): Script {
  if (text.length > MAX_CHARS) throw new Unreadable("too long");
  return new Reader(text).read();
}

class Reader {
  private at = 0;
  private readonly text: string;
  private readonly script: Script = { commands: [], nested: [] };
  private command: SimpleCommand = { words: [], writes: [] };
  private word: string | undefined;
  private redirecting = false;

  constructor(text: string) {
    this.text = text;
  }

  read(): Script {
    while (this.at < this.text.length) this.step();
    this.endCommand();
    return this.script;
  }

  private step(): void {
    const { text } = this;
    const char = text.charAt(this.at);
    const rest = text.slice(this.at, this.at + 2);
    if (char === "\\") {
      if (text.charAt(this.at + 1) !== "\n") this.add(text.charAt(this.at + 1));
      this.at += 2;
    } else if (char === "'") {
      this.add(this.upTo("'", this.at + 1));
    } else if (char === '"') {
      this.doubleQuoted();
    } else if (rest === "$(" || rest === "<(" || rest === ">(") {
      this.parenthesis();
    } else if (char === "`") {
      this.script.nested.push(this.upTo("`", this.at + 1));
      this.add("$");
    } else if (char === "#" && this.word === undefined) {
      const end = text.indexOf("\n", this.at);
      this.at = end === -1 ? text.length : end;
    } else if (char === ">" || (char === "&" && text.charAt(this.at + 1) === ">")) {
      this.redirection();
    } else if (";&|\n(){}!".includes(char) && !this.isPartOfWord(char)) {
      this.endCommand();
      this.at += 1;
    } else if (char === " " || char === "\t" || char === "\r" || char === "<") {
      this.endWord();
      this.at += 1;
    } else {
      this.add(char);
      this.at += 1;
    }
  }

  /** `{a,b}`, `${x}` and `!` in the middle of a word, and the `&1` of `2>&1`. */
  private isPartOfWord(char: string): boolean {
    return (this.word !== undefined && "{}!".includes(char)) || (char === "&" && this.redirecting);
  }

  private doubleQuoted(): void {
    const { text } = this;
    this.add("");
    this.at += 1;
    for (;;) {
      const char = text.charAt(this.at);
      if (char === "") throw new Unreadable("a quote does not end");
      if (char === '"') break;
      if (char === "\\") {
        this.add(text.charAt(this.at + 1));
        this.at += 2;
      } else if (text.startsWith("$(", this.at)) {
        this.parenthesis();
      } else if (char === "`") {
        this.script.nested.push(this.upTo("`", this.at + 1));
        this.add("$");
      } else {
        this.add(char);
        this.at += 1;
      }
    }
    this.at += 1;
  }

  private parenthesis(): void {
    const start = this.at + 2;
    let depth = 1;
    let end = start;
    for (; depth > 0; end += 1) {
      const char = this.text.charAt(end);
      if (char === "") throw new Unreadable("a parenthesis does not end");
      if (char === "(") depth += 1;
      if (char === ")") depth -= 1;
    }
    this.script.nested.push(this.text.slice(start, end - 1));
    this.add("$");
    this.at = end;
  }

  private redirection(): void {
    // A number right before it is a file descriptor, not an argument.
    if (this.word !== undefined && /^\d+$/.test(this.word)) this.word = undefined;
    this.endWord();
    while (">&|".includes(this.text.charAt(this.at)) && this.at < this.text.length) {
      if (this.text.charAt(this.at) === "&" && /[\d-]/.test(this.text.charAt(this.at + 1))) break;
      this.at += 1;
    }
    this.redirecting = true;
  }

  private upTo(mark: string, start: number): string {
    const end = this.text.indexOf(mark, start);
    if (end === -1) throw new Unreadable("a quote does not end");
    this.at = end + 1;
    return this.text.slice(start, end);
  }

  private add(piece: string): void {
    this.word = (this.word ?? "") + piece;
  }

  private endWord(): void {
    if (this.word === undefined) return;
    if (!this.redirecting) this.command.words.push(this.word);
    else if (!/^&[\d-]+$/.test(this.word)) this.command.writes.push(this.word);
    this.redirecting = false;
    this.word = undefined;
  }

  private endCommand(): void {
    this.endWord();
    this.redirecting = false;
    if (this.command.words.length > 0 || this.command.writes.length > 0) this.script.commands.push(this.command);
    this.command = { words: [], writes: [] };
  }
}
