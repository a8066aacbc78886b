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
}

/** What is left empty stays in the call, which is then refused: to leave it out would widen whom it reaches. */
export function toCall({ target, userid, compid, message, event }: Draft): Call {
  const parameters: [string, string][] = [];
  if (target === "both" || target === "user") parameters.push(["userid", userid]);
  if (target === "both" || target === "component") parameters.push(["compid", compid]);
  if (event !== "") parameters.push(["event", event]);
  parameters.push(["message", message]);
  return { path: target === "all" ? "/pushtoall" : "/push", parameters };
}

/** The call for a POSIX shell. The key is not in it, but the variable that the server and its commands read it from. */
export function toCurl(origin: string, { path, parameters }: Call, hasKey: boolean): string {
  const url = origin + path;
  const words = hasKey ? [`-H "Authorization: Bearer $SERVER_PUSH_API_KEY"`] : [];
  const isPlain = parameters.every(([, value]) => plain.test(value));
  if (isPlain)
    return ["curl", ...words, quoteForShell(`${url}?${toQuery(parameters)}`)].join(hasKey ? " \\\n  " : " ");
  words.push(
    ...parameters.map(([name, value]) =>
      plain.test(value)
        ? `-d ${quoteForShell(`${name}=${value}`)}`
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
  /** Clients need a token. */
  readonly hasKey: boolean;
}

/** A page that listens, in HTML. */
export function toPage({ origin, userid, compid, event, hasKey }: Listener): string {
  const options = [
    // A token says whose it is.
    ...(userid === "" || hasKey ? [] : [`userid: ${quoteForScript(userid)}`]),
    ...(compid === "" ? [] : [`compid: ${quoteForScript(compid)}`]),
    ...(hasKey ? ["token: getToken"] : []),
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
    ...[...(hasKey ? [getToken] : []), connect, listen].map((line) => `  ${line}`),
    "</script>",
  ].join("\n");
}

/** The call by which a back end gets the token that its page needs. */
export function toTokenCurl(origin: string, userid: string): string {
  const query = toQuery([["userid", userid]]);
  return `curl -X POST \\\n  -H "Authorization: Bearer $SERVER_PUSH_API_KEY" \\\n  ${quoteForShell(`${origin}/tokens?${query}`)}`;
}

/** Within single quotes everything stands for itself, but for a single quote. */
export function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** A string of JavaScript that may stand in a script of a page: HTML ends a script at `</script`, whatever that is in. */
export function quoteForScript(text: string): string {
  return JSON.stringify(text)
    .replaceAll("<", String.raw`\u003c`)
    .replaceAll("\u2028", String.raw`\u2028`)
    .replaceAll("\u2029", String.raw`\u2029`);
}

function toQuery(parameters: Call["parameters"]): string {
  // It percent-encodes single quotes too.
  return new URLSearchParams(parameters.map(([name, value]): [string, string] => [name, value])).toString();
}

/** What needs neither encoding nor quotes. */
const plain = /^[\w.~-]*$/;

/** The library's own events, whose names a message cannot have there: such a message is one without a name. */
const isMessage = /^(|message|open|close|reset|error)$/;
