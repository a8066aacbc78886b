/**
 * What the tests need of the system beyond Bun: other people's clients, and what makes a disk fail.
 */
import { existsSync } from "node:fs";

interface Tool {
  /** The name of Debian's package. */
  readonly debian: string;
  isThere(): boolean;
}

/** Debian's own Python, which its packages are for, whatever else is called python3. */
export const python = "/usr/bin/python3";

export const tools = {
  curl: { debian: "curl", isThere: () => Bun.which("curl") !== null },
  chromium: { debian: "chromium", isThere: () => Bun.which("chromium") !== null },
  openssl: { debian: "openssl", isThere: () => Bun.which("openssl") !== null },
  strace: { debian: "strace", isThere: () => Bun.which("strace") !== null },
  php: { debian: "php-cli", isThere: () => Bun.which("php") !== null },
  websockets: {
    debian: "python3-websockets",
    isThere: () => existsSync(python) && Bun.spawnSync([python, "-c", "import websockets"]).exitCode === 0,
  },
} as const satisfies Record<string, Tool>;

export type ToolName = keyof typeof tools;

/** Whether a test that needs the tool is to be skipped. With CI=true nothing is: what is missing fails there. */
export function mustSkip(name: ToolName): boolean {
  return process.env["CI"] !== "true" && !tools[name].isThere();
}

function missing(): Tool[] {
  return Object.values(tools).filter((tool) => !tool.isThere());
}

/** Installs what is missing where it may (Debian, as root), and names what stays missing. */
export function installMissing(): void {
  if (missing().length === 0) return;
  if (process.getuid?.() === 0 && Bun.which("apt-get") !== null) {
    const packages = missing().map((tool) => tool.debian);
    process.stdout.write(`Installing ${packages.join(", ")}...\n`);
    const options = {
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      stdout: "ignore",
      stderr: "inherit",
    } as const;
    Bun.spawnSync(["apt-get", "update", "-q"], options);
    Bun.spawnSync(["apt-get", "install", "-q", "-y", "--no-install-recommends", ...packages], options);
  }
  for (const tool of missing())
    process.stdout.write(
      `MISSING: ${tool.debian} (Debian's name): the tests that need it ${process.env["CI"] === "true" ? "will fail" : "are skipped"}\n`,
    );
}
