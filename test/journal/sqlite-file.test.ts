import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { cp, link, mkdir, open as openFile, readdir, rename, rm, stat, symlink } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Journal } from "../../src/journal.ts";
import type { Draft } from "../../src/message.ts";
import { fileJournals, readBodies } from "../support/sqlite.ts";

const { open, newPath, folder, log } = fileJournals();

describe("the file of a journal", () => {
  test("is made for this user only, with all that belongs to it", async () => {
    const path = newPath();
    const journal = await open({ path });
    await journal.append(texts("private"));

    const names = (await readdir(folder)).filter((name) => name.startsWith(basename(path))).toSorted();
    const modes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).mode & 0o777));

    expect(names.map((name) => name.slice(basename(path).length))).toEqual(["", "-guard", "-shm", "-wal"]);
    expect(modes).toEqual([0o600, 0o600, 0o600, 0o600]);
  });

  test("is whole in one file, beside its guard, when the journal was closed", async () => {
    const path = newPath();
    const journal = await open({ path });
    await journal.append(texts("a"));
    await journal.close();

    const names = (await readdir(folder)).filter((name) => name.startsWith(basename(path)));

    expect(names.toSorted()).toEqual([basename(path), `${basename(path)}-guard`]);
  });

  test("says what it is: a mark and the version of the schema", async () => {
    const path = newPath();
    await (await open({ path })).close();

    using database = new Database(path);

    expect(database.query("PRAGMA application_id").get()).toEqual({ application_id: 0x70757368 });
    expect(database.query("PRAGMA user_version").get()).toEqual({ user_version: 1 });
  });
});

describe("a file that cannot be used is refused in one clear sentence", () => {
  const cases: readonly {
    readonly name: string;
    readonly make: (path: string) => unknown;
    readonly path?: (path: string) => string;
    readonly message: string;
  }[] = [
    { name: "a folder", make: (path) => mkdir(path), message: "PATH is a folder, expected a file" },
    {
      name: "in a folder that is not there",
      make: () => {},
      path: (path) => join(path, "x.db"),
      message: "PATH: its folder is not there; make it first",
    },
    {
      name: "below a file",
      make: (path) => Bun.write(path, "text"),
      path: (path) => join(path, "x.db"),
      message: "PATH: its folder is not there; make it first",
    },
    {
      name: "text",
      make: (path) => Bun.write(path, "dear diary, ".repeat(100)),
      message: "PATH: it is not a SQLite file (SQLITE_NOTADB)",
    },
    {
      name: "of another program",
      make: (path) => alter(path, "CREATE TABLE mail (subject TEXT)"),
      message: "PATH is a SQLite file of another program, expected one of server-push",
    },
    {
      name: "of a newer version",
      make: async (path) => {
        await (await open({ path })).close();
        alter(path, "PRAGMA user_version = 99");
      },
      message: "PATH was written by a newer server-push: its schema is version 99, this one knows up to 1",
    },
    {
      name: "damaged",
      make: async (path) => {
        const journal = await open({ path });
        await journal.append(texts("a", "b", "c"));
        await journal.close();
        alter(path, "DELETE FROM messages WHERE offset = 3");
      },
      message:
        "PATH is damaged: its newest message is 2, expected 3; put a backup back, or move it away: a new one is made when there is none",
    },
    {
      name: "in use by another server",
      make: (path) => open({ path }),
      message: "PATH is in use by another server-push; each needs a file of its own",
    },
    {
      name: "in use by another server, by another name",
      make: async (path) => {
        await open({ path: `${path}.real` });
        await symlink(`${path}.real`, path);
      },
      message: "PATH is in use by another server-push; each needs a file of its own",
    },
    {
      name: "that another server could open by another name",
      make: async (path) => {
        await (await open({ path })).close();
        await link(path, `${path}.link`);
      },
      message:
        "PATH has 2 names (hard links), expected one: by another name, another server could open it too",
    },
    {
      name: "locked by another program",
      make: async (path) => {
        await (await open({ path })).close();
        const database = new Database(path);
        database.run("PRAGMA locking_mode = EXCLUSIVE");
        database.run("BEGIN EXCLUSIVE");
        return database;
      },
      message: "PATH: another program has locked it (SQLITE_BUSY)",
    },
  ];

  for (const { name, make, path: toPath = (path: string) => path, message } of cases)
    test(name, async () => {
      const own = newPath();
      const made = await make(own);
      const path = toPath(own);

      const opening = open({ path });

      expect(opening).rejects.toMatchObject({
        name: "UnusableFile",
        message: message.replace("PATH", JSON.stringify(path)),
      });
      await opening.catch(() => {});
      if (made instanceof Database) made.close();
    });

  test("and nothing of it is changed, nor anything left beside it", async () => {
    const path = newPath();
    await Bun.write(path, "dear diary");

    await open({ path }).catch(() => {});

    expect(await Bun.file(path).text()).toBe("dear diary");
    expect((await readdir(folder)).filter((name) => name.startsWith(basename(path)))).toEqual([
      basename(path),
    ]);
  });

  test("and can be used as soon as the other server has ended", async () => {
    const path = newPath();
    const first = await open({ path });
    await first.append(texts("kept"));
    await open({ path }).catch(() => {});
    await first.append(texts("not disturbed"));
    await first.close();

    expect(readBodies(await open({ path }), 0)).toEqual(["kept", "not disturbed"]);
  });
});

describe("a file that may have lost messages takes a new epoch, says why, and keeps what it has:", () => {
  const cases: readonly {
    readonly name: string;
    readonly lose: (path: string) => unknown;
    readonly why: string;
  }[] = [
    {
      name: "its guard is missing",
      lose: (path) => rm(`${path}-guard`),
      why: "its guard is missing, so it may be a copy that is not up to date",
    },
    {
      name: "its guard is not readable",
      lose: (path) => Bun.write(`${path}-guard`, "garbage ".repeat(1024)),
      why: "its guard is missing, so it may be a copy that is not up to date",
    },
    {
      name: "a power cut left half of its guard",
      lose: async (path) => {
        const guard = await openFile(`${path}-guard`, "r+");
        await guard.write(new Uint8Array(4096), 0, 4096, 4096);
        await guard.close();
      },
      why: "its guard is missing, so it may be a copy that is not up to date",
    },
    {
      name: "it was put back from a copy together with its guard",
      lose: async (path) => {
        for (const name of [path, `${path}-guard`]) {
          await rename(name, `${name}.old`);
          await cp(`${name}.old`, name, { preserveTimestamps: true });
        }
      },
      why: "it is a copy of the file that was here before, so it may not be up to date",
    },
    {
      name: "it has more messages than it says",
      lose: (path) => alter(path, "UPDATE log SET head = 2"),
      why: "its newest message is 3, expected 2",
    },
    {
      name: "an earlier copy was put back",
      lose: (path) => cp(`${path}.copy`, path),
      why: "it has lost what was in it: its newest message is 2, and was 3",
    },
    {
      name: "another journal's file was put in its place",
      lose: async (path) => {
        const other = newPath();
        const journal = await open({ path: other });
        await journal.append(texts("x", "y"));
        await journal.close();
        await cp(other, path);
      },
      why: "it is not the file that was here before",
    },
  ];

  for (const { name, lose, why } of cases)
    test(name, async () => {
      const path = newPath();
      const first = await open({ path });
      await first.append(texts("a", "b"));
      await first.close();
      await cp(path, `${path}.copy`);
      const second = await open({ path });
      await second.append(texts("c"));
      await second.close();
      await lose(path);

      const after = await open({ path });

      expect(after.epoch).not.toBe(first.epoch);
      expect(log).toEqual([`${lost}: ${why}`]);
      expect(readBodies(after, 0).length).toBe(after.head);
      const { epoch } = after;
      await after.close();
      expect((await open({ path })).epoch).toBe(epoch);
    });

  test("its guard is missing, and it has no message yet", async () => {
    const path = newPath();
    const { epoch } = await openAndClose(path);
    await rm(`${path}-guard`);

    expect((await open({ path })).epoch).not.toBe(epoch);
    expect(log).toEqual([`${lost}: its guard is missing, so it may be a copy that is not up to date`]);
  });

  test("its write-ahead log is gone, where all was", async () => {
    const [path, copy] = [newPath(), newPath()];
    const running = await open({ path });
    await running.append(texts("a", "b"));
    await cp(path, copy);
    await cp(`${path}-guard`, `${copy}-guard`);

    await open({ path: copy });

    expect(log).toEqual([`${lost}: it has lost what was in it: its newest message is 0, and was 2`]);
  });

  test("it was copied without its write-ahead log, where all was, and without its guard", async () => {
    const [path, copy] = [newPath(), newPath()];
    const running = await open({ path });
    await running.append(texts("a", "b"));
    await cp(path, copy);

    await open({ path: copy });

    expect(log).toEqual([`${lost}: it is empty, and was not new: its write-ahead log is missing`]);
  });

  test("but a file that was only closed does not, nor one that was moved with all that belongs to it", async () => {
    const [path, moved] = [newPath(), newPath()];
    const { epoch } = await openAndClose(path);
    await openAndClose(path);
    await rename(path, moved);
    await rename(`${path}-guard`, `${moved}-guard`);

    expect((await open({ path: moved })).epoch).toBe(epoch);
    expect(log).toEqual([]);
  });
});

const lost =
  "the journal's file may have lost messages; clients that come back are told that they may have missed some";

async function openAndClose(path: string): Promise<Journal> {
  const journal = await open({ path });
  await journal.close();
  return journal;
}

/** Runs SQL on the file, as another program would. */
function alter(path: string, sql: string): void {
  using database = new Database(path);
  database.run(sql);
}

function texts(...given: readonly string[]): Draft[] {
  return given.map((body) => ({ topic: "a", body }));
}
