/**
 * Whatever is typed stays what it is, in a shell and in a script: held for texts of every kind.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  quoteForScript,
  quoteForShell,
  toCall,
  toCurl,
  toPage,
  toTokenCurl,
} from "../../src/console/snippets.ts";
import { run } from "../support/process.ts";

const draft = { target: "both", userid: "123", compid: "inbox", message: "hello", event: "" } as const;
const origin = "http://localhost:8888";

const text = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.string({ unit: fc.constantFrom(..."'\"`$(){}\\;&|<>!#~*?%+=@ \n\t/ascript-\u2028\u202e") }),
);

describe("quotes", () => {
  test("give a shell back what is in them", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 40 }), async (texts) => {
        const wanted = texts.map((one) => one.replaceAll("\0", ""));
        const { stdout } = await run(["sh", "-c", `printf '%s\\0' ${wanted.map(quoteForShell).join(" ")}`]);
        expect(stdout.split("\0").slice(0, -1)).toEqual(wanted);
      }),
      { numRuns: 60 },
    );
  });

  test("give a script back what is in them, and never end the element that it stands in", () => {
    fc.assert(
      fc.property(text, (one) => {
        const quoted = quoteForScript(one);
        expect(JSON.parse(quoted)).toBe(one);
        expect(quoted).not.toMatch(/[<\n\u2028\u2029\u202e]/);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("the call", () => {
  test.each([
    ["both", "/push", ["userid", "compid", "message"]],
    ["user", "/push", ["userid", "message"]],
    ["component", "/push", ["compid", "message"]],
    ["all", "/pushtoall", ["message"]],
  ] as const)("to %s is %s", (target, path, names) => {
    const call = toCall({ ...draft, target });

    expect(call.path).toBe(path);
    expect(call.parameters.map(([one]) => one)).toEqual([...names]);
  });

  test("keeps an id that is empty, which must not widen whom it reaches", () => {
    expect(toCall({ ...draft, compid: "" }).parameters).toContainEqual(["compid", ""]);
  });
});

describe("the line for a shell", () => {
  test("is short where it can be", () => {
    expect(toCurl(origin, toCall(draft), false)).toBe(
      "curl 'http://localhost:8888/push?userid=123&compid=inbox&message=hello'",
    );
  });

  test("can be read where it cannot", () => {
    expect(toCurl(origin, toCall({ ...draft, message: "it's 50 %" }), false)).toBe(
      String.raw`curl -G 'http://localhost:8888/push' \
  -d 'userid=123' \
  -d 'compid=inbox' \
  --data-urlencode 'message=it'\''s 50 %'`,
    );
  });

  test("is seen as what it is, where what is typed would turn it around", () => {
    const message = "\u202ehello world";
    const line = toCurl(origin, toCall({ ...draft, message }), false);

    expect(line).toEndWith("-d 'message=%E2%80%AEhello+world'");
    expect(toPage({ origin, userid: message, compid: "", event: "", needsToken: false })).toContain(
      String.raw`userid: "\u202ehello world"`,
    );
  });

  test("posts what is too long for a URL, as the text that it is", () => {
    const message = `@it's ${"x".repeat(8000)}`;
    const call = toCall({ ...draft, message });

    expect(call).toEqual({
      path: "/push",
      parameters: [
        ["userid", "123"],
        ["compid", "inbox"],
      ],
      body: message,
    });
    expect(toCurl(origin, call, false))
      .toBe(String.raw`curl 'http://localhost:8888/push?userid=123&compid=inbox' \
  -H 'Content-Type: text/plain' \
  --data-raw '@it'\''s ${"x".repeat(8000)}'`);
    expect(toCall({ ...draft, message: "x".repeat(7900) }).body).toBeUndefined();
  });

  test("names the key, and does not have it", () => {
    for (const message of ["hello", "two words", "x".repeat(9000)])
      expect(toCurl(origin, toCall({ ...draft, message }), true)).toContain(
        `-H "Authorization: Bearer $SERVER_PUSH_API_KEY"`,
      );
    expect(toCurl(origin, toCall(draft), true))
      .toBe(String.raw`curl 'http://localhost:8888/push?userid=123&compid=inbox&message=hello' \
  -H "Authorization: Bearer $SERVER_PUSH_API_KEY"`);
    expect(toTokenCurl(origin, "it's")).toContain("tokens?userid=it%27s'");
  });
});

describe("the page", () => {
  const listener = { origin, userid: "123", compid: "inbox", event: "", needsToken: false };

  test("is three lines of script", () => {
    expect(toPage(listener)).toBe(`<script src="http://localhost:8888/client.js"></script>
<script>
  const push = ServerPush.connect({ userid: "123", compid: "inbox" });
  push.onmessage = (message) => console.log(message.data);
</script>`);
  });

  test("listens for the name of an event, unless the library has an event of that name", () => {
    expect(toPage({ ...listener, event: "order" })).toContain(`push.addEventListener("order", `);
    for (const event of ["message", "open", "close", "reset", "error"])
      expect(toPage({ ...listener, event })).toContain("push.onmessage");
  });

  test("leaves out what is left empty", () => {
    expect(toPage({ ...listener, userid: "", compid: "" })).toContain("ServerPush.connect();");
  });

  test("has a token in the place of the user, where clients need one", () => {
    expect(toPage({ ...listener, needsToken: true })).toContain(
      `connect({ compid: "inbox", token: getToken });`,
    );
  });
});
