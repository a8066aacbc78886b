/**
 * Curves over the last minutes, by uPlot, in the colours of the page's style.
 */
import { type ReadonlySignal, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { type Curve, type History, historySeconds } from "./watch.ts";

export interface ChartProps {
  readonly title: string;
  readonly history: ReadonlySignal<History>;
  readonly lines: readonly { readonly curve: Curve; readonly label: string }[];
  readonly format: (value: number) => string;
  /** The axis goes up to here at least, so that a single session is no mountain. */
  readonly least: number;
}

const height = 170;

export function Chart({ title, history, lines, format, least }: ChartProps) {
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  /** Which point the pointer is at. */
  const pointed = useSignal<number | null>(null);

  useEffect(() => {
    const element = frame.current;
    if (element === null) return undefined;
    const chart = new uPlot(
      {
        width: element.clientWidth,
        height,
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, y: false },
        scales: {
          x: { range: (_, __, newest) => toWindow(newest) },
          y: { range: (_, __, most) => [0, Math.max(least, (most ?? 0) * 1.15)] },
        },
        axes: [
          { ...axis, size: 26, space: 44, incrs: [60, 120, 300], values: (_, times) => times.map(toClock) },
          { ...axis, size: 60, values: (_, values) => values.map(format) },
        ],
        series: [
          {},
          ...lines.map((_, index) => ({
            stroke: () => read(`--curve-${index + 1}`),
            width: 2,
            points: { show: false },
            ...(lines.length === 1 && { fill: () => read("--curve-area") }),
          })),
        ],
        hooks: { setCursor: [({ cursor }) => (pointed.value = cursor.idx ?? null)] },
      },
      toData(history.peek(), lines),
      element,
    );
    plot.current = chart;
    const size = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height }));
    size.observe(element);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => chart.redraw();
    scheme.addEventListener("change", redraw);
    return () => {
      size.disconnect();
      scheme.removeEventListener("change", redraw);
      chart.destroy();
    };
  }, []);

  useSignalEffect(() => {
    plot.current?.setData(toData(history.value, lines));
  });

  const values = lines.map(({ curve }) => {
    const points = history.value.curves[curve];
    const value = pointed.value === null ? points.at(-1) : points[pointed.value];
    return value === null || value === undefined ? "–" : format(value);
  });
  const summary = lines.map(({ label }, index) => `${label} ${values[index]}`).join(", ");
  return (
    <figure class="card chart">
      <figcaption>
        <span class="title">{title}</span>
        <span class="legend">
          {lines.map(({ label }, index) => (
            <span key={label} class={`curve-${index + 1}`}>
              {label} <b>{values[index]}</b>
            </span>
          ))}
        </span>
      </figcaption>
      <div
        ref={frame}
        class="plot"
        role="img"
        aria-label={`${title} over the last minutes. Now: ${summary}`}
      />
    </figure>
  );
}

/** Font and lines are drawn, so the style of the page does not reach them by itself. */
const axis: uPlot.Axis = {
  stroke: () => read("--muted"),
  font: "12px system-ui, sans-serif",
  grid: { stroke: () => read("--line"), width: 1 },
  ticks: { show: false },
};

function read(property: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(property);
}

function toData({ times, curves }: History, lines: ChartProps["lines"]): uPlot.AlignedData {
  return [[...times], ...lines.map(({ curve }) => [...curves[curve]])];
}

/** Where there is no point yet, uPlot gives none. */
function toWindow(newest: number | null): [number, number] {
  const end = newest ?? Date.now() / 1000;
  return [end - historySeconds, end];
}

function toClock(seconds: number): string {
  return clock.format(seconds * 1000);
}

const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });
