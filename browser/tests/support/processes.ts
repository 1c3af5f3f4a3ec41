/** Real processes for tests: a Holdfast server, a fault proxy, a Python device. */

import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const HERE = fileURLToPath(new URL(".", import.meta.url));
const ROOT = join(HERE, "..", "..", "..");
const PYTHON = join(ROOT, ".venv", "bin", "python");
export const SCHEMA = join(HERE, "shop.json");

if (!existsSync(PYTHON)) throw new Error("needs the Python environment: make setup");

export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** A Python program that speaks in lines, ended by its id. */
export class Program {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly ended: Promise<number | null>;
  #errors = "";

  constructor(args: readonly string[]) {
    const env = { ...process.env, PYTHONUNBUFFERED: "1", PYTHONPATH: HERE };
    this.#child = spawn(PYTHON, [...args], { env, cwd: HERE });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#child.stderr.on(
      "data",
      (piece) => (this.#errors = (this.#errors + String(piece)).slice(-8000)),
    );
    this.ended = new Promise((resolve) => this.#child.once("exit", resolve));
  }

  async line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done) throw new Error(`the program has ended: ${this.#errors}`);
    return next.value;
  }

  say(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  async ready(): Promise<string> {
    const line = await this.line();
    if (!line.startsWith("ready ")) throw new Error(`not ready: ${line}`);
    return line.slice("ready ".length).trim().replace(/\/$/, "");
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#child.kill(signal);
    await this.ended;
  }
}

/** A server on a folder of its own, which can be killed and brought back at its address. */
export class Server {
  readonly #folder = mkdtempSync(join(tmpdir(), "holdfast-browser-"));
  readonly port: number;
  readonly #site: string | null;
  readonly #fileRows: number | null;
  /** The file of the schema that it serves; changed, it is another program after the next start. */
  schema = SCHEMA;
  #program: Program | null = null;

  private constructor(port: number, site: string | null, fileRows: number | null) {
    this.port = port;
    this.#site = site;
    this.#fileRows = fileRows;
  }

  /** `site`: the folder of a page to serve beside it, at `/site/`. `fileRows`: so many rows come as a
   * file. */
  static async start(
    site: string | null = null,
    { fileRows = null }: { fileRows?: number | null } = {},
  ): Promise<Server> {
    const server = new Server(await freePort(), site, fileRows);
    await server.start();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  path(name: string): string {
    return join(this.#folder, name);
  }

  async start(): Promise<void> {
    const command = [
      ...[
        "-m",
        "holdfast.cli",
        "serve",
        "--schema",
        this.schema,
        "--database",
        this.path("server.db"),
      ],
      ...["--tokens", join(HERE, "tokens.toml"), "--rules", "shop_rules:RULES"],
      ...["--port", String(this.port), "--log-level", "warning"],
    ];
    const site = [
      join(HERE, "site.py"),
      this.#site ?? "",
      this.path("server.db"),
      String(this.port),
      this.#fileRows === null ? "" : String(this.#fileRows),
    ];
    const plain = this.#site === null && this.#fileRows === null;
    this.#program = new Program(plain ? command : site);
    await this.#program.ready();
  }

  /** Somebody writes the server's database with SQL of their own. */
  shell(sql: string): void {
    const work =
      "import apsw, sys; db = apsw.Connection(sys.argv[1]); db.set_busy_timeout(20000); db.execute(sys.argv[2])";
    execFileSync(PYTHON, ["-c", work, this.path("server.db"), sql], { stdio: "pipe" });
  }

  /** Work at the server, which is then put back as it was before: by copies of its files, as of a stopped
   * one. */
  async setBack(work: () => Promise<void>): Promise<void> {
    const files = (): string[] =>
      readdirSync(this.#folder).filter((name) => /^server\.db(-wal|-shm)?$/.test(name));
    const aside = mkdtempSync(join(tmpdir(), "holdfast-server-"));
    try {
      await this.kill("SIGTERM");
      for (const name of files()) copyFileSync(this.path(name), join(aside, name));
      await this.start();
      await work();
      await this.kill("SIGTERM");
      for (const name of files()) rmSync(this.path(name));
      for (const name of readdirSync(aside)) copyFileSync(join(aside, name), this.path(name));
      await this.start();
    } finally {
      rmSync(aside, { recursive: true });
    }
  }

  /** Another server takes the place of this one: an empty one. */
  async beginAnew(): Promise<void> {
    await this.kill("SIGTERM");
    for (const name of readdirSync(this.#folder).filter((one) => one.startsWith("server.db")))
      rmSync(this.path(name), { recursive: true });
    await this.start();
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.#program?.kill(signal);
    this.#program = null;
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A proxy before a server that loses requests and answers as it is told. */
export class Proxy {
  readonly #program: Program;
  readonly url: string;

  private constructor(program: Program, url: string) {
    this.#program = program;
    this.url = url;
  }

  static async before(server: Server): Promise<Proxy> {
    const upstream = `127.0.0.1:${server.port}`;
    const program = new Program([
      ...["-m", "holdfast.testing.proxy_command", "--upstream", upstream, "--control"],
    ]);
    return new Proxy(program, await program.ready());
  }

  /** One command line of `holdfast.testing.proxy_command`. */
  async obey(command: string): Promise<unknown> {
    this.#program.say(command);
    return JSON.parse(await this.#program.line());
  }

  close(): Promise<void> {
    return this.#program.kill();
  }
}

/** A Python replica with the second token. */
export class PythonDevice {
  readonly #program: Program;

  constructor(server: Server, name = "python.db", token = "token-b") {
    this.#program = new Program([
      ...[join(HERE, "device.py"), server.path(name), server.schema, server.url, token],
    ]);
  }

  async #obey(command: unknown): Promise<unknown> {
    this.#program.say(JSON.stringify(command));
    const answer = JSON.parse(await this.#program.line()) as { ok?: unknown; error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.ok;
  }

  write(...sql: string[]): Promise<unknown> {
    return this.#obey({ write: sql });
  }

  query(sql: string): Promise<unknown> {
    return this.#obey({ query: sql });
  }

  sync(): Promise<unknown> {
    return this.#obey({ sync: true });
  }

  resolve(keep: "mine" | "theirs"): Promise<unknown> {
    return this.#obey({ resolve: keep });
  }

  close(): Promise<void> {
    return this.#program.kill();
  }
}
