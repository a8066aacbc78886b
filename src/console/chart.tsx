/**
 * Curves over the last minutes, by uPlot, in the colours of the page's style.
 */
import { type ReadonlySignal, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { findAlone, toWindow } from "./curves.ts";
import { formatTime } from "./format.ts";
import type { Curve, History } from "./watch.ts";

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
          // What uPlot makes of a single point is a day.
          x: { range: () => toWindow(history.peek().times) },
          y: { range: (_, __, most) => [0, Math.max(least, (most ?? 0) * 1.15)] },
        },
        axes: [
          { ...axis, size: 26, space: 64, incrs: [30, 60, 120, 300], values: toTimeLabels },
          { ...axis, size: 60, values: (_, values) => values.map(format) },
        ],
        series: [
          {},
          ...lines.map((_, index) => ({
            stroke: () => read(`--curve-${index + 1}`),
            // Where they are equal, the first is seen on both sides of the second.
            width: lines.length > 1 && index === 0 ? 4 : 2,
            // A line is of two points: one alone is a dot.
            points: { show: false, size: 5, filter: findAloneOf },
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

  const { times, curves } = history.value;
  const last = times.length - 1;
  const shown = pointed.value ?? last;
  const time = times[shown];
  const toValue = (curve: Curve, point: number) => {
    const value = curves[curve][point];
    return value === null || value === undefined ? "–" : format(value);
  };
  const summary = lines.map(({ label, curve }) => `${label} ${toValue(curve, last)}`).join(", ");
  return (
    <figure class="card chart">
      <figcaption>
        <span class="title">
          {title} {pointed.value !== null && time !== undefined && <time>at {formatTime(time * 1000)}</time>}
        </span>
        <span class="legend">
          {lines.map(({ label, curve }, index) => (
            <span key={label} class={`curve-${index + 1}`}>
              {label} <b>{toValue(curve, shown)}</b>
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

function findAloneOf({ data }: uPlot, curve: number): number[] {
  return findAlone(data[curve] ?? []);
}

/** One at the very beginning would stand where the other axis has its 0. */
function toTimeLabels(plot: uPlot, times: number[], _: number, __: number, step: number): string[] {
  const format = step < 60 ? clockWithSeconds : clock;
  return times.map((time) => (plot.valToPos(time, "x") < roomForZero ? "" : format.format(time * 1000)));
}

const roomForZero = 30;
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });
const clockWithSeconds = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
