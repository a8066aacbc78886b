/**
 * Settings of which each alone is right, and which together are a mistake.
 */
import { describe, expect, test } from "bun:test";
import { problemsOf, settingsOf, sourcesOf, toFile } from "./support/settings.ts";

const key = "--api-key=0123456789abcdef";

describe("the public keys of tokens", () => {
  test.each([
    "http://issuer.example.com/jwks.json",
    "HTTP://issuer.example.com",
    "http://10.0.0.1/jwks.json?key=hush",
    "http://127.0.0.1.example.com/",
    "http://localhost.example.com/",
    "http://user:hush@issuer.example.com/",
  ])("may not come over a network where anybody can put others in their place: %s", (jwks) => {
    for (const sources of sourcesOf("jwks", jwks))
      expect(problemsOf(sources)).toEqual([
        expect.stringMatching(
          /^jwks: "http:\/\/[\w.]+" is not https, and anyone on the way could sign tokens; expected https, or --insecure to allow just that$/,
        ),
      ]);
  });

  test.each([
    "https://issuer.example.com/jwks.json",
    "http://127.0.0.1:8080/jwks.json",
    "http://localhost/jwks.json",
    "http://[::1]:8080/",
    "/etc/server-push/jwks.json",
    "http-keys.json",
  ])("may come from a place that is safe: %s", (jwks) => {
    for (const sources of sourcesOf("jwks", jwks)) expect(settingsOf(sources).jwks).toBe(jwks);
  });

  test("may come from anywhere where that is said outright", () => {
    const jwks = "http://issuer.example.com/jwks.json";

    expect(settingsOf({ arguments: ["--insecure", `--jwks=${jwks}`] }).jwks).toBe(jwks);
  });
});

describe("a queue for a webhook", () => {
  const webhook = "--webhook=http://127.0.0.1:8080/hook";

  test("that is smaller than one message is refused, with what was expected", () => {
    const flags = [webhook, "--max-message=1MiB", "--max-webhook-queue=1048575"];

    expect(problemsOf({ arguments: flags })).toEqual([
      expect.stringMatching(/^max-webhook-queue: 1048575 bytes .* expected at least 1048576$/),
    ]);
  });

  test("may be just as large as one message", () => {
    const flags = [webhook, "--max-message=1MiB", "--max-webhook-queue=1MiB"];

    expect(settingsOf({ arguments: flags }).maxWebhookQueue).toBe(2 ** 20);
  });

  test.each(["--webhook-events=user.online,user.offline", ""])(
    "may be smaller where no message waits in it: %s",
    (flag) => {
      const flags = ["--max-webhook-queue=1KiB", ...(flag === "" ? [] : [webhook, flag])];

      expect(settingsOf({ arguments: flags }).maxWebhookQueue).toBe(1024);
    },
  );
});

describe("the address of a port that is not there", () => {
  test.each(["127.0.0.1", "localhost"])("is a mistake, from every source: %s", (host) => {
    for (const sources of sourcesOf("api-host", host))
      expect(problemsOf(sources)).toEqual([
        "api-host: has no effect without --api-port, expected it beside it",
      ]);
  });

  test("is none when the port is there, or was taken away for once", () => {
    for (const port of ["0", "none"])
      expect(
        settingsOf({
          arguments: [`--api-port=${port}`],
          ...toFile({ "api-host": "::1", "api-port": 8889 }),
        }).apiHost,
      ).toBe("::1");
  });

  test("is one mistake, and not two, where the port is one", () => {
    expect(problemsOf({ arguments: ["--api-port=x", "--api-host=::1"] })).toEqual([
      expect.stringMatching(/^--api-port: "x" is not a port/),
    ]);
  });
});

describe("what only tokens have", () => {
  test.each(["--jwt-issuer=me", "--jwt-audience=you", "--anonymous"])(
    "is a mistake where nobody needs a token: %s",
    (flag) => {
      const [name = ""] = flag.slice(2).split("=");

      expect(problemsOf({ arguments: [flag] })).toEqual([
        `${name}: has no effect where no client needs a token, expected one of --api-key, --api-key-file, --jwt-secret, --jwks beside it`,
      ]);
    },
  );

  test.each([key, "--api-key-file=keys", `--jwt-secret=${"x".repeat(32)}`, "--jwks=keys.json"])(
    "is none with %s",
    (locked) => {
      const all = ["--jwt-issuer=me", "--jwt-audience=you", "--anonymous"];

      expect(settingsOf({ arguments: [...all, locked] }).anonymous).toBe(true);
    },
  );

  test("is none where it is turned off", () => {
    expect(settingsOf({ arguments: ["--anonymous=false"] }).anonymous).toBe(false);
  });

  test("is one mistake, and not two, where the key is one", () => {
    expect(problemsOf({ arguments: ["--api-key=short", "--anonymous"] })).toHaveLength(1);
  });
});

describe("one port number for both ports", () => {
  test.each([
    ["127.0.0.1", "127.0.0.1"],
    ["0.0.0.0", "127.0.0.1"],
    ["127.0.0.1", "0.0.0.0"],
    ["::", "127.0.0.1"],
    ["127.0.0.1", "::"],
  ])("is a mistake where the addresses meet: %s and %s", (host, apiHost) => {
    const flags = [key, `--host=${host}`, `--api-host=${apiHost}`, "--port=8888", "--api-port=8888"];

    expect(problemsOf({ arguments: flags })).toEqual([
      "api-port: 8888 is --port too, expected another one, another --api-host, or none",
    ]);
  });

  test("is none where they are different addresses", () => {
    const flags = [key, "--host=192.0.2.1", "--port=8888", "--api-port=8888"];

    expect(settingsOf({ arguments: flags })).toMatchObject({ port: 8888, apiPort: 8888 });
  });

  test("is none where both take any that is free", () => {
    expect(settingsOf({ arguments: ["--port=0", "--api-port=0"] }).apiPort).toBe(0);
  });
});
