/**
 * The server's figures: whether it runs, what flows now, and what did over the last minutes.
 */
import { useEffect } from "preact/hooks";
import type { Api } from "./api.ts";
import { AsOf } from "./as-of.tsx";
import { Chart } from "./chart.tsx";
import { formatAge, formatBytes, formatCount, formatRate, formatSeconds } from "./format.ts";
import { repeat } from "./repeat.ts";
import { type Figures, noFigures, type Watch } from "./watch.ts";

const everyMs = 1000;

export function Status({ api, watch }: { readonly api: Api; readonly watch: Watch }) {
  const figures = watch.figures.value;
  // Nothing is asked meanwhile, so nothing is known.
  if (api.entry.value.kind === "asking") return null;
  if (!api.isReachable.value) return <p class="status away">Not reachable</p>;
  if (figures === undefined) return <p class="status">Running</p>;
  return (
    <p class="status">
      Running {figures.version}, for {formatAge(Date.now() - figures.startedAt)}
    </p>
  );
}

export interface LiveProps {
  readonly api: Api;
  readonly watch: Watch;
  readonly hasWebhooks: boolean;
}

export function Live({ api, watch, hasWebhooks }: LiveProps) {
  useEffect(() => repeat(everyMs, () => watch.look()), []);
  const figures = watch.figures.value;
  // Their room is there before they are, so that nothing moves when they come.
  const tiles = toTiles(figures ?? noFigures, hasWebhooks);
  const problem = watch.problem.value;
  const { history } = watch;
  return (
    <section id="live" aria-labelledby="live-title">
      <h2 id="live-title">
        Live <AsOf api={api} />
      </h2>
      {problem !== "" && <p class="problem">The figures are not the newest: {problem}</p>}
      <dl class={figures === undefined ? "tiles unknown" : "tiles"}>
        {tiles.map(({ title, value, more, isBad }) => (
          <div key={title} class={isBad ? "card tile bad" : "card tile"}>
            <dt>{title}</dt>
            <dd>
              {value}
              {more.map((line) => (
                <small key={line}> {line}</small>
              ))}
            </dd>
          </div>
        ))}
      </dl>
      <div class="charts">
        <Chart
          title="Sessions"
          history={history}
          format={formatCount}
          least={4}
          lines={[{ curve: "sessions", label: "open" }]}
        />
        <Chart
          title="Messages a second"
          history={history}
          format={formatRate}
          least={4}
          lines={[
            { curve: "messages", label: "pushed" },
            { curve: "deliveries", label: "delivered" },
          ]}
        />
        <Chart
          title="Answer to a push"
          history={history}
          format={formatSeconds}
          least={0.001}
          lines={[
            { curve: "median", label: "median" },
            { curve: "slowest", label: "99 %" },
          ]}
        />
      </div>
    </section>
  );
}

interface Tile {
  readonly title: string;
  readonly value: string;
  /** A line each. */
  readonly more: readonly string[];
  readonly isBad?: boolean;
}

function toTiles(figures: Figures, hasWebhooks: boolean): readonly Tile[] {
  const { median, slowest } = figures;
  const tiles: Tile[] = [
    { title: "Sessions", value: formatCount(figures.sessions), more: [toUsers(figures.users)] },
    { title: "Messages", value: formatRate(figures.messages ?? 0), more: ["a second"] },
    { title: "Deliveries", value: formatRate(figures.deliveries ?? 0), more: ["a second"] },
    {
      title: "Answer to a push",
      value: median === undefined ? "–" : formatSeconds(median),
      more: [slowest === undefined ? "no pushes just now" : `99 % within ${formatSeconds(slowest)}`],
    },
    {
      title: "Journal",
      value: formatCount(figures.journalMessages),
      more: toJournal(figures),
      isBad: !figures.isWritable,
    },
    { title: "Slow sessions closed", value: formatCount(figures.slowSessions), more: ["since the start"] },
  ];
  if (hasWebhooks)
    tiles.push({
      title: "Webhook backlog",
      value: formatCount(figures.webhookWaiting),
      more: [figures.isWebhookStuck ? "none gets through" : "events"],
      isBad: figures.isWebhookStuck,
    });
  return tiles;
}

function toJournal({ isWritable, journalMessages, journalBytes, journalAge }: Figures): readonly string[] {
  if (!isWritable) return ["cannot be written"];
  if (journalMessages === 0) return ["empty"];
  return [formatBytes(journalBytes), `oldest ${formatAge(journalAge * 1000)}`];
}

function toUsers(count: number): string {
  return count === 1 ? "1 user online" : `${formatCount(count)} users online`;
}
