/**
 * Ids, which others have chosen: whatever is in one, what stands around it stays where it is.
 */
import { Fragment } from "preact";
import { toVisible } from "./format.ts";

/** Where there is little room, its beginning; the rest is a title. */
export function Id({ text }: { readonly text: string }) {
  const shown = toVisible(text);
  return (
    <bdi class="id" title={shown}>
      {shown}
    </bdi>
  );
}

/** Those of a user and a component that there are; before a component there is always a user, be it an empty one. */
export function toIds(userid: unknown = "", compid: unknown = ""): readonly string[] {
  if (compid === "") return userid === "" ? [] : [String(userid)];
  return [String(userid), String(compid)];
}

/** The same of a session, which may be nobody's: that is shown too. */
export function toOwner(userid?: unknown, compid?: unknown): readonly string[] {
  const ids = toIds(userid, compid);
  return ids.length === 0 ? [""] : ids;
}

/** `123 / inbox` */
export function Ids({ of }: { readonly of: readonly string[] }) {
  return of.map((text, index) => (
    <Fragment key={index}>
      {index > 0 && " / "}
      <IdOrNone text={text} />
    </Fragment>
  ));
}

/** @param text empty when there is none */
export function IdOrNone({ text }: { readonly text: string }) {
  return text === "" ? <span class="hint">none</span> : <Id text={text} />;
}

/** The id of a session, which the server has chosen. */
export function SessionId({ id }: { readonly id: string }) {
  return <code class="session">{id}</code>;
}
