/**
 * The server's figures: whether it runs, what flows now, and what did over the last minutes.
 */
import { useEffect } from "preact/hooks";
import type { Api } from "./api.ts";
import { Chart } from "./chart.tsx";
import { formatAge, formatBytes, formatCount, formatRate, formatSeconds } from "./format.ts";
import { repeat } from "./repeat.ts";
import type { Figures, Watch } from "./watch.ts";

const everyMs = 1000;

export function Status({ api, watch }: { readonly api: Api; readonly watch: Watch }) {
  const figures = watch.figures.value;
  if (!api.isReachable.value) return <p class="status away">Not reachable</p>;
  if (figures === undefined || api.entry.value.kind !== "open") return <p class="status">Running</p>;
  return (
    <p class="status">
      Running {figures.version}, for {formatAge(Date.now() - figures.startedAt)}
    </p>
  );
}

export function Live({ watch }: { readonly watch: Watch }) {
  useEffect(() => repeat(everyMs, () => watch.look()), []);
  const figures = watch.figures.value;
  const problem = watch.problem.value;
  const { history } = watch;
  return (
    <section id="live" aria-labelledby="live-title">
      <h2 id="live-title">Live</h2>
      {problem !== "" && <p class="problem">The figures are not the newest: {problem}</p>}
      <dl class="tiles">
        {figures !== undefined &&
          toTiles(figures).map(({ title, value, more, isBad }) => (
            <div key={title} class={isBad ? "card tile bad" : "card tile"}>
              <dt>{title}</dt>
              <dd>
                {value} <small>{more}</small>
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
          title="Time to answer a push"
          history={history}
          format={formatSeconds}
          least={0.001}
          lines={[
            { curve: "median", label: "half in" },
            { curve: "slowest", label: "99 % in" },
          ]}
        />
      </div>
    </section>
  );
}

interface Tile {
  readonly title: string;
  readonly value: string;
  readonly more: string;
  readonly isBad?: boolean;
}

function toTiles(figures: Figures): readonly Tile[] {
  const { median, slowest } = figures;
  return [
    { title: "Sessions", value: formatCount(figures.sessions), more: toUsers(figures.users) },
    { title: "Messages", value: formatRate(figures.messages ?? 0), more: "a second" },
    { title: "Deliveries", value: formatRate(figures.deliveries ?? 0), more: "a second" },
    {
      title: "Push answered",
      value: median === undefined ? "–" : formatSeconds(median),
      more: slowest === undefined ? "no pushes just now" : `99 % within ${formatSeconds(slowest)}`,
    },
    {
      title: "Journal",
      value: formatCount(figures.journalMessages),
      more: figures.isWritable
        ? `${formatBytes(figures.journalBytes)}, the oldest ${formatAge(figures.journalAge * 1000)} old`
        : "cannot be written",
      isBad: !figures.isWritable,
    },
    { title: "Too slow, closed", value: formatCount(figures.slowSessions), more: "since the start" },
    { title: "Webhook backlog", value: formatCount(figures.webhookWaiting), more: "events" },
  ];
}

function toUsers(count: number): string {
  return count === 1 ? "1 user" : `${formatCount(count)} users`;
}
