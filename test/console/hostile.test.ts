/**
 * What others have chosen is shown as the text that it is: users, components, events and messages may be markup, and none of it runs.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { push } from "../support/calls.ts";
import { connect } from "../support/client.ts";
import { mustSkip } from "../support/system.ts";
import {
  choose,
  connectPage,
  openConsole,
  pushFromPage,
  refusals,
  untilReceived,
  untilText,
} from "./console.ts";

setDefaultTimeout(60_000);

const payloads = [
  `<img src=x onerror="hacked=1">`,
  `"><script>hacked=1</script>`,
  `'-(hacked=1)-'"><svg/onload=hacked=1>`,
  `<a href="javascript:hacked=1">x</a>`,
  `__proto__`,
];

/** What no part of the page is. */
const strangers = "#app :is(img, script, svg, iframe, [href^=javascript], [onerror], [onload])";

test.skipIf(mustSkip("chromium")).each(payloads)(
  "%s does nothing, whoever has it as a name or a message",
  async (payload) => {
    await using opened = await openConsole({ mayComplain: refusals });
    const { page, server } = opened;
    const query = new URLSearchParams({ userid: payload, compid: payload }).toString();
    await using other = await connect(server, query);
    other.send(payload);
    await push(server, `userid=nobody&event=${encodeURIComponent(payload)}`, "unclaimed");

    // As what happens.
    for (const type of ["session.opened", "user.online", "message.received", "message.unclaimed"]) {
      await choose(page, "#events-kind", type);
      await untilText(page, "#tail li", type);
      await untilText(page, "#tail li", payload);
    }
    await choose(page, "#events-kind", "");

    // As what is typed, pushed, received and refused.
    for (const field of ["#userid", "#compid", "#event", "#message", "#events-filter"])
      await page.fill(field, payload);
    await connectPage(page);
    await pushFromPage(page);
    await untilReceived(page, payload);
    await page.fill("#event", `push.${payload}`);
    await page.click("#push");
    await untilText(page, "#outcome .problem", "push.");

    // As who is there.
    await untilText(page, "tbody", payload);
    await page.click("tbody button");
    await untilText(page, "dialog h2", payload);
    expect(await page.evaluate<string>(`typeof hacked`)).toBe("undefined");
    expect(await page.evaluate<number>(`document.querySelectorAll("${strangers}").length`)).toBe(0);
  },
);
