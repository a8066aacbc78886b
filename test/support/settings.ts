/**
 * Settings as a test writes them, and what becomes of them.
 */
import { readSettings, type Settings, type SettingsSources } from "../../src/settings.ts";

export function settingsOf(sources: Partial<SettingsSources>): Settings {
  const result = readSettings({ arguments: [], environment: {}, ...sources });
  if ("problems" in result) throw new Error(result.problems.join("\n"));
  return result.settings;
}

export function problemsOf(sources: Partial<SettingsSources>): readonly string[] {
  const result = readSettings({ arguments: [], environment: {}, ...sources });
  return "problems" in result ? result.problems : [];
}

/** The three ways to write one setting. */
export function sourcesOf(name: string, text: string): Partial<SettingsSources>[] {
  return [
    { arguments: [`--${name}=${text}`] },
    { environment: { [`SERVER_PUSH_${name.toUpperCase().replaceAll("-", "_")}`]: text } },
    toFile({ [name]: text }),
  ];
}

export function toFile(values: Readonly<Record<string, unknown>>): Partial<SettingsSources> {
  return { file: { path: "push.toml", values } };
}
