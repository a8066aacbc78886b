/**
 * What the check of the dependencies makes of the answers of a registry. The registry here is one of this machine, so that each
 * of them can be had.
 */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { makeFolder } from "./support/folder.ts";
import { root, run } from "./support/process.ts";

const advisories = "/-/npm/v1/security/advisories/bulk";

/** Runs the check against a registry that answers so, and gives what it was asked for beside what it said. */
async function audit(answer: () => Response) {
  const asked: string[] = [];
  await using registry = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      if (request.method !== "POST" || new URL(request.url).pathname !== advisories)
        return new Response(null, { status: 404 });
      const body = Bun.gunzipSync(await request.arrayBuffer());
      asked.push(...Object.keys(JSON.parse(new TextDecoder().decode(body))));
      return answer();
    },
  });
  return { ...(await auditAt(registry.url.href)), asked };
}

/** The same, with nobody's own settings of a registry. */
async function auditAt(registry: string) {
  await using home = await makeFolder();
  return await run([process.execPath, join(root, "test/check.ts"), "audit"], {
    environment: { HOME: home.path, BUN_CONFIG_REGISTRY: registry },
  });
}

const toAnswer = (severity: string) => () =>
  Response.json({
    elysia: [
      {
        id: 1,
        url: "https://advisories.example.com/1",
        title: "A hole",
        severity,
        vulnerable_versions: "<99.0.0",
        cwe: [],
        cvss: { score: 5, vectorString: null },
      },
    ],
  });

describe("the dependencies", () => {
  test("pass when the registry knows nothing against them", async () => {
    const { status, stdout, asked } = await audit(() => Response.json({}));

    expect(stdout).toBe("check: audit\n1 passed, 0 failed, 0 skipped\n");
    expect(status).toBe(0);
    expect(asked).toContain("elysia");
    expect(asked).not.toContain("fast-check");
  });

  test.each(["moderate", "high", "critical"])(
    "fail when it knows of a vulnerability that is %s",
    async (level) => {
      const { status, stdout } = await audit(toAnswer(level));

      expect(stdout).toContain(`elysia: ${level}: A hole (https://advisories.example.com/1)\n`);
      expect(stdout).toEndWith("0 passed, 1 failed, 0 skipped\n");
      expect(status).toBe(1);
    },
  );

  test("pass with a word about one that is low", async () => {
    const { status, stdout } = await audit(toAnswer("low"));

    expect(stdout).toContain("elysia: low: A hole");
    expect(stdout).toEndWith("1 passed, 0 failed, 0 skipped\n");
    expect(status).toBe(0);
  });

  test.each([
    ["has no such call", () => new Response("no", { status: 405 })],
    ["answers with a page", () => new Response("<html>")],
    ["answers with something else", () => Response.json([])],
  ])("are skipped, in one line, when it %s", async (_, answer) => {
    const { status, stdout } = await audit(answer);

    expect(stdout).toMatch(
      /^check: audit\naudit: SKIPPED, the registry cannot tell: .+\n0 passed, 0 failed, 1 skipped\n$/,
    );
    expect(status).toBe(0);
  });

  test("are skipped when nobody is there to ask", async () => {
    const { status, stdout } = await auditAt("http://127.0.0.1:1/");

    expect(stdout).toContain("audit: SKIPPED, the registry cannot tell: POST http://127.0.0.1:1/");
    expect(stdout).toEndWith("0 passed, 0 failed, 1 skipped\n");
    expect(status).toBe(0);
  });
});

test("a check that does not exist is a failure, and not a run of nothing", async () => {
  const { status, stdout } = await run([process.execPath, join(root, "test/check.ts"), "adit"]);

  expect(stdout).toContain("expected types, format, lint, audit");
  expect(status).toBe(1);
});
