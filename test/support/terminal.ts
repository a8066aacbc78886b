/**
 * A program in a terminal of its own, as somebody who sits in front of it has it.
 */
import { eventually } from "./eventually.ts";

export interface TerminalSession extends AsyncDisposable {
  /** Everything that has been shown so far, as lines. */
  readonly screen: string;
  /** Waits until `text` is shown, and gives the whole line. */
  shown(text: string): Promise<string>;
  /** Presses these keys; `\x03` is Ctrl-C. */
  press(keys: string): void;
  readonly exited: Promise<number>;
}

export function startInTerminal(command: readonly string[]): TerminalSession {
  const decoder = new TextDecoder();
  let screen = "";
  const child = Bun.spawn([...command], {
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", TERM: "xterm" },
    terminal: {
      cols: 240,
      rows: 50,
      data: (_, bytes) => {
        screen += decoder.decode(bytes, { stream: true }).replaceAll("\r\n", "\n");
      },
    },
  });
  return {
    get screen() {
      return screen;
    },
    async shown(text) {
      await eventually(`${JSON.stringify(text)} in the terminal`, () => screen.includes(text));
      return screen.split("\n").find((line) => line.includes(text)) ?? "";
    },
    press: (keys) => void child.terminal?.write(keys),
    exited: child.exited,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      child.terminal?.close();
    },
  };
}
