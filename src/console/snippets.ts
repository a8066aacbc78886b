/**
 * What somebody would write to do what the page does: the call as a line of a shell, and a page that listens. Pure.
 *
 * Whatever is typed stays what it is: each value is quoted for the language that it stands in, and none of them can end its quotes.
 */

/** Whom a push is for. */
export type Target = "both" | "user" | "component" | "all";

export interface Draft {
  readonly target: Target;
  readonly userid: string;
  readonly compid: string;
  readonly message: string;
  /** Empty for none. */
  readonly event: string;
}

/** A call of the API. */
export interface Call {
  readonly path: string;
  readonly parameters: readonly (readonly [name: string, value: string])[];
  /** The message, where it is too long for a URL: then it is a POST. */
  readonly body?: string;
}

/** What proxies and servers usually take of a URL is 8 KiB. */
const maxQuery = 8000;

/** What is left empty stays in the call, which is then refused: to leave it out would widen whom it reaches. */
export function toCall({ target, userid, compid, message, event }: Draft): Call {
  const parameters: [string, string][] = [];
  if (target === "both" || target === "user") parameters.push(["userid", userid]);
  if (target === "both" || target === "component") parameters.push(["compid", compid]);
  if (event !== "") parameters.push(["event", event]);
  const path = target === "all" ? "/pushtoall" : "/push";
  const inQuery = [...parameters, ["message", message] as const];
  if (toQuery(inQuery).length > maxQuery) return { path, parameters, body: message };
  return { path, parameters: inQuery };
}

/** The call for a POSIX shell. The key is not in it, but the variable that the server and its commands read it from. */
export function toCurl(origin: string, { path, parameters, body }: Call, hasKey: boolean): string {
  const url = origin + path;
  const words = hasKey ? [authorization] : [];
  if (body !== undefined) {
    const target = parameters.length === 0 ? url : `${url}?${toQuery(parameters)}`;
    // With --data-raw a leading @ is an @, and a line break stays.
    words.push("-H 'Content-Type: text/plain'", `--data-raw ${quoteForShell(body)}`);
    return [`curl ${quoteForShell(target)}`, ...words].join(" \\\n  ");
  }
  const isPlain = parameters.every(([, value]) => plain.test(value));
  if (isPlain) return [`curl ${quoteForShell(`${url}?${toQuery(parameters)}`)}`, ...words].join(" \\\n  ");
  words.push(
    ...parameters.map(([name, value]) =>
      // What turns the order around would show another line than it is.
      plain.test(value) || turning.test(value)
        ? `-d ${quoteForShell(toQuery([[name, value]]))}`
        : `--data-urlencode ${quoteForShell(`${name}=${value}`)}`,
    ),
  );
  return [`curl -G ${quoteForShell(url)}`, ...words].join(" \\\n  ");
}

export interface Listener {
  /** Where clients connect to. */
  readonly origin: string;
  readonly userid: string;
  readonly compid: string;
  readonly event: string;
  readonly needsToken: boolean;
}

/** A page that listens, in HTML. */
export function toPage({ origin, userid, compid, event, needsToken }: Listener): string {
  const options = [
    // A token says whose it is.
    ...(userid === "" || needsToken ? [] : [`userid: ${quoteForScript(userid)}`]),
    ...(compid === "" ? [] : [`compid: ${quoteForScript(compid)}`]),
    ...(needsToken ? ["token: getToken"] : []),
  ];
  const connect = `const push = ServerPush.connect(${options.length === 0 ? "" : `{ ${options.join(", ")} }`});`;
  const listen = isMessage.test(event)
    ? "push.onmessage = (message) => console.log(message.data);"
    : `push.addEventListener(${quoteForScript(event)}, (message) => console.log(message.data));`;
  // The path is whatever the back end of that page has.
  const getToken = `const getToken = () => fetch("/token").then((answer) => answer.text());`;
  return [
    `<script src="${origin}/client.js"></script>`,
    "<script>",
    ...[...(needsToken ? [getToken] : []), connect, listen].map((line) => `  ${line}`),
    "</script>",
  ].join("\n");
}

/** The call by which a back end gets the token that its page needs. */
export function toTokenCurl(origin: string, userid: string): string {
  const query = toQuery([["userid", userid]]);
  return `curl -X POST ${quoteForShell(`${origin}/tokens?${query}`)} \\\n  ${authorization}`;
}

/** Within single quotes everything stands for itself, but for a single quote. */
export function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/**
 * A string of JavaScript that may stand in a script of a page, and is seen as what it is: HTML ends a script at `</script`, whatever
 * that is in, and U+202E turns around what stands after it.
 */
export function quoteForScript(text: string): string {
  return JSON.stringify(text).replace(
    /[<\p{Bidi_Control}\u2028\u2029]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function toQuery(parameters: Call["parameters"]): string {
  // It percent-encodes single quotes too.
  return new URLSearchParams(parameters.map(([name, value]): [string, string] => [name, value])).toString();
}

const authorization = `-H "Authorization: Bearer $SERVER_PUSH_API_KEY"`;

const turning = /\p{Bidi_Control}/u;

/** What needs neither encoding nor quotes. */
const plain = /^[\w.~-]*$/;

/** The library's own events, whose names a message cannot have there: such a message is one without a name. */
const isMessage = /^(|message|open|close|reset|error)$/;
