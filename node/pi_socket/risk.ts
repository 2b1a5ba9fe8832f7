/**
 * What a person should look at before a tool call runs: the one place that says what is risky.
 *
 * It keeps accidents away: what deletes, leaves the folder, becomes another user, talks to the network, changes
 * the system, or cannot be read. It is no sandbox: a program that is started may do anything, so whoever does not
 * trust an agent takes "ask-all". Decided here and not in the node, since a call that need not be asked must cost
 * nothing, and since pi goes on while no node runs.
 */
import { realpathSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, isAbsolute, join, relative, resolve } from "node:path";
import { takeApart, Unreadable, type SimpleCommand } from "./shell.ts";

const MAX_NESTING = 8;

/** Programs and why they deserve a look. */
const PROGRAMS = new Map<string, string>(
  Object.entries({
    "deletes or overwrites": "rm rmdir unlink shred truncate dd wipefs fdisk parted",
    "becomes another user": "sudo su doas pkexec runuser",
    "changes permissions": "chmod chown chgrp chattr setfacl",
    "talks to the network": "curl wget ssh scp sftp rsync nc ncat netcat telnet ftp socat nmap ssh-copy-id",
    "ends processes": "kill pkill killall",
    "changes the system":
      "systemctl service launchctl reboot shutdown halt poweroff mount umount iptables nft sysctl crontab at " +
      "useradd userdel usermod groupadd passwd visudo defaults apt apt-get dnf yum pacman brew snap apk dpkg rpm",
    "acts on other systems": "docker podman kubectl helm terraform aws gcloud az gh glab psql mysql mongosh redis-cli",
    "runs what it is given": "eval source . npx pipx uvx bunx xargs parallel watch entr script expect",
    "steers agents": "hyperpi hypivisor pi",
  }).flatMap(([why, names]) => names.split(" ").map((name) => [name, why] as const)),
);

/** They start the program that follows, options of theirs aside. */
const WRAPPERS = new Set("env command nohup time nice ionice timeout exec builtin stdbuf setsid then do else if while until".split(" "));
const SHELLS = new Set("sh bash zsh dash ksh fish".split(" "));
/** Interpreters and the options that take code. */
const INLINE_CODE = new Map([
  ["python", ["-c"]],
  ["python3", ["-c"]],
  ["node", ["-e", "--eval", "-p", "--print"]],
  ["deno", ["eval"]],
  ["perl", ["-e", "-E"]],
  ["ruby", ["-e"]],
  ["php", ["-r"]],
]);
/** What only looks, or makes what git itself can take back. */
const HARMLESS_GIT = new Set(
  (
    "status diff log show blame add commit ls-files ls-tree rev-parse rev-list grep describe shortlog cat-file " +
    "merge-base name-rev switch init mv help version"
  ).split(" "),
);
const PACKAGES = new Map([
  ["npm", "install i ci add publish exec x update up link uninstall remove rm audit-fix"],
  ["pnpm", "install i add publish exec dlx update up link remove rm"],
  ["yarn", "install add publish dlx upgrade link remove"],
  ["bun", "install i add publish x update link remove"],
  ["pip", "install uninstall download"],
  ["pip3", "install uninstall download"],
  ["uv", "pip add remove sync tool publish"],
  ["poetry", "add remove install update publish"],
  ["cargo", "install publish add remove"],
  ["gem", "install push uninstall"],
  ["go", "install get"],
  ["twine", "upload"],
]);
/** They write where their arguments say. */
const WRITERS = new Set("cp mv ln tee touch mkdir install rsync unzip tar".split(" "));
const NO_FILES = new Set(["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty"]);
const READERS = new Set(["read", "ls", "grep", "find", "glob"]);
const SECRETS = /(^|\/)(\.ssh|\.gnupg|\.aws|\.kube|\.netrc|\.pgpass|\.npmrc|\.pypirc|\.git-credentials|\.env(\.[\w-]+)?|id_(rsa|ed25519|ecdsa))(\/|$)/;
/** Within the folder, and yet it decides what runs later. */
const RUNS_LATER = /(^|\/)(\.git|\.pi|\.husky)(\/|$)/;

/** Why a person should look at this call first, in a few words each; none: no reason. Never throws. */
export function risks(tool: string, input: unknown, cwd: string): string[] {
  const members = (typeof input === "object" && input !== null ? input : {}) as Record<string, unknown>;
  const found = new Set<string>();
  if (tool === "bash") ofScript(String(members["command"] ?? ""), cwd, found, 0);
  else if (tool === "write" || tool === "edit") ofWriting(String(members["path"] ?? ""), cwd, found);
  else if (READERS.has(tool)) {
    if (SECRETS.test(String(members["path"] ?? ""))) found.add("touches secrets");
  } else found.add(`what ${tool} does is not known`);
  return [...found];
}

/** A path as it is, links followed as far as it exists, and relative to the folder when it is within it. */
export function placed(path: string, cwd: string): { inside: boolean; path: string; whole: string } {
  const folder = real(cwd);
  const whole = real(path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : resolve(folder, path));
  const within = relative(folder, whole);
  const inside = within === "" || !(within === ".." || within.startsWith("../") || isAbsolute(within));
  return { inside, path: inside ? within : whole, whole };
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(real(parent), basename(path));
  }
}

function ofWriting(path: string, cwd: string, found: Set<string>): void {
  const target = placed(path, cwd);
  if (!target.inside) found.add("writes outside of its folder");
  if (RUNS_LATER.test(target.path)) found.add("changes what runs later");
  if (SECRETS.test(target.path)) found.add("touches secrets");
}

function ofScript(text: string, cwd: string, found: Set<string>, depth: number): void {
  if (depth > MAX_NESTING) {
    found.add("cannot be read");
    return;
  }
  try {
    const { commands, nested } = takeApart(text);
    for (const command of commands) ofCommand(command, cwd, found, depth);
    for (const inner of nested) ofScript(inner, cwd, found, depth + 1);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    found.add("cannot be read");
  }
}

function ofCommand({ words, writes }: SimpleCommand, cwd: string, found: Set<string>, depth: number): void {
  for (const target of writes) ofTarget(target, cwd, found);
  const start = words.findIndex((word) => !/^\w+=/.test(word));
  if (start === -1) return;
  const [first = "", ...args] = words.slice(start);
  const name = basename(first);
  if (args.some((word) => SECRETS.test(word))) found.add("touches secrets");
  if (first.includes("$") || first.includes("*")) found.add("computes what it runs");
  const why = PROGRAMS.get(name) ?? (name.startsWith("mkfs") ? "deletes or overwrites" : undefined);
  if (why !== undefined) found.add(`${name} ${why}`);
  if (WRAPPERS.has(name)) {
    const inner = args.findIndex((word) => !word.startsWith("-") && !/^[\d.]+[smhd]?$/.test(word) && !/^\w+=/.test(word));
    if (inner !== -1) ofCommand({ words: args.slice(inner), writes: [] }, cwd, found, depth);
    // Options that take a value may hide where the program is.
    for (const word of args) if (PROGRAMS.has(basename(word))) found.add(`${basename(word)} ${PROGRAMS.get(basename(word))}`);
  } else if (SHELLS.has(name)) {
    ofShell(name, args, cwd, found, depth);
  } else if (name === "git") {
    ofGit(args, found);
  } else if (name === "find") {
    if (args.some((word) => /^-(delete|exec|execdir|ok|okdir|fprint\w*|fls)$/.test(word))) found.add("find changes what it finds");
  } else if (name === "cd" || name === "pushd") {
    const target = args.find((word) => !word.startsWith("-"));
    if (target === undefined || target.includes("$") || !placed(target, cwd).inside) found.add("leaves its folder");
  } else if (WRITERS.has(name) || (name === "sed" && args.some((word) => /^(-[a-z]*i|--in-place)/.test(word)))) {
    for (const word of args) if (!word.startsWith("-") && looksLikePath(word)) ofTarget(word, cwd, found);
  } else if (/^g?awk$|^mawk$/.test(name)) {
    if (args.some((word) => /system\s*\(|\|\s*"|>\s*"/.test(word))) found.add(`${name} runs what it is given`);
  }
  const code = INLINE_CODE.get(name.replace(/^(python3?)[\d.]*$/, "$1"));
  if (code !== undefined && args.some((word) => code.includes(word))) found.add(`${name} runs code that is given inline`);
  if (PACKAGES.get(name)?.split(" ").includes(args.find((word) => !word.startsWith("-")) ?? "")) {
    found.add(`${name} installs or publishes`);
  }
}

/** `sh -c TEXT` is looked into; a shell that reads its commands from elsewhere cannot be. */
function ofShell(name: string, args: string[], cwd: string, found: Set<string>, depth: number): void {
  const at = args.findIndex((word) => /^-[a-z]*c$/.test(word));
  const text = args[at + 1];
  if (at !== -1 && text !== undefined) ofScript(text, cwd, found, depth + 1);
  else if (!args.some((word) => !word.startsWith("-"))) found.add(`${name} runs what it is given`);
}

function ofGit(args: string[], found: Set<string>): void {
  let rest = args;
  while (rest[0]?.startsWith("-")) {
    if (rest[0] === "-c" || rest[0].startsWith("--exec-path")) found.add("git -c may run anything");
    rest = rest.slice(/^-[cC]$/.test(rest[0]) ? 2 : 1);
  }
  const [verb = "status", ...more] = rest;
  const listing = verb === "stash" && ["list", "show"].includes(more[0] ?? "");
  const naming = (verb === "branch" || verb === "tag") && !more.some((word) => /^-(\w*[dDmMfCc]|-delete|-force|-move)/.test(word));
  const making = verb === "checkout" && more[0] === "-b";
  if (!HARMLESS_GIT.has(verb) && !listing && !naming && !making) found.add(`git ${verb} cannot be taken back or leaves this machine`);
}

function ofTarget(target: string, cwd: string, found: Set<string>): void {
  if (NO_FILES.has(target)) return;
  if (target.includes("$")) found.add("writes to a place that is computed");
  else ofWriting(target, cwd, found);
}

function looksLikePath(word: string): boolean {
  return word.startsWith("/") || word.startsWith("~") || word.includes("..") || RUNS_LATER.test(word);
}
