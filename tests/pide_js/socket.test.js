import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { NoAnswer, RpcError } from "../../pide/static/protocol.js";
import { Socket, backoffMs } from "../../pide/static/socket.js";

/** Timers that run when the test says so. */
class Clock {
  now = 0;
  timers = [];

  setTimeout = (run, ms) => {
    const timer = { run, at: this.now + ms };
    this.timers.push(timer);
    return timer;
  };

  clearTimeout = (timer) => {
    this.timers = this.timers.filter((one) => one !== timer);
  };

  pass(ms) {
    const end = this.now + ms;
    for (;;) {
      const [next] = this.timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.clearTimeout(next);
      this.now = next.at;
      next.run();
    }
    this.now = end;
  }
}

/** The server's end of a WebSocket. */
class Wire {
  sent = [];
  isClosed = false;

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.isClosed = true;
  }

  answer(id, more) {
    this.onmessage({ data: JSON.stringify({ jsonrpc: "2.0", id, ...more }) });
  }
}

let clock;
let wires;
let statuses;
let notifications;
let diagnosis;
let socket;

beforeEach(() => {
  clock = new Clock();
  wires = [];
  statuses = [];
  notifications = [];
  diagnosis = "gone";
  socket = new Socket({
    open: () => {
      wires.push(new Wire());
      return wires.at(-1);
    },
    diagnose: async () => diagnosis,
    onStatus: (status) => statuses.push(status),
    onNotification: (method, params) => notifications.push([method, params]),
    timers: clock,
    now: () => clock.now,
    random: () => 0.5,
  });
});

const settled = () => new Promise((resolve) => setImmediate(resolve));

function opened() {
  socket.start();
  wires.at(-1).onopen();
  return wires.at(-1);
}

describe("backoff", () => {
  test("grows, is capped, and has jitter in its upper half", () => {
    assert.ok(backoffMs(0, () => 0) >= 200);
    assert.ok(backoffMs(3, () => 0) > backoffMs(0, () => 0.999));
    assert.equal(backoffMs(50, () => 0.999_999), 15_000);
    assert.equal(backoffMs(50, () => 0), 7_500);
    assert.notEqual(backoffMs(2, () => 0.1), backoffMs(2, () => 0.9));
  });

  test("each failed attempt waits longer", async () => {
    socket.start();
    const waits = [];
    for (let n = 0; n < 5; n += 1) {
      wires.at(-1).onclose({ code: 1006 });
      await settled();
      assert.equal(socket.status.phase, "waiting");
      waits.push(socket.status.retryAt - clock.now);
      clock.pass(socket.status.retryAt - clock.now);
    }
    assert.deepEqual([...waits].sort((a, b) => a - b), waits);
    assert.ok(waits[4] > waits[0] * 8);
  });

  test("starts anew after a link that was stable, not after one that just opened", async () => {
    const waitAfter = async (openFor_ms) => {
      wires.at(-1).onopen();
      clock.pass(openFor_ms);
      wires.at(-1).onclose({ code: 1006 });
      const wait = socket.status.retryAt - clock.now;
      clock.pass(wait);
      return wait;
    };
    socket.start();
    const first = await waitAfter(100);
    const second = await waitAfter(100);
    assert.ok(second > first);
    assert.equal(await waitAfter(11_000), first);
  });
});

describe("close codes", () => {
  test("4000 means resume at once", () => {
    const wire = opened();
    clock.pass(12_000);
    wire.onclose({ code: 4000 });
    assert.equal(socket.status.phase, "connecting");
    assert.equal(wires.length, 2);
  });

  test("4000 again and again backs off", () => {
    const wire = opened();
    wire.onclose({ code: 4000 });
    assert.equal(socket.status.phase, "waiting");
    assert.equal(socket.status.cause, "slow");
  });

  test("4001 means signed out, and no attempt follows", () => {
    opened().onclose({ code: 4001 });
    assert.equal(socket.status.phase, "signed_out");
    clock.pass(60_000);
    assert.equal(wires.length, 1);
  });

  test("4002 means restarting: come back soon", () => {
    opened().onclose({ code: 4002 });
    assert.deepEqual([socket.status.phase, socket.status.cause], ["waiting", "restarting"]);
    assert.ok(socket.status.retryAt - clock.now < 1_000);
  });
});

describe("a failed handshake", () => {
  test("leads to the login page when the server does not know us", async () => {
    diagnosis = "signed_out";
    socket.start();
    wires[0].onclose({ code: 1006 });
    await settled();
    assert.equal(socket.status.phase, "signed_out");
  });

  test("says whether this device or the hypivisor is away", async () => {
    diagnosis = "offline";
    socket.start();
    wires[0].onclose({ code: 1006 });
    await settled();
    assert.equal(socket.status.cause, "offline");
  });

  test("that never ends is given up after a while", async () => {
    socket.start();
    clock.pass(10_000);
    await settled();
    assert.equal(wires[0].isClosed, true);
    assert.equal(socket.status.phase, "waiting");
  });

  test("can be repeated at once when the person asks", async () => {
    socket.start();
    wires[0].onclose({ code: 1006 });
    await settled();
    socket.retryNow();
    assert.equal(wires.length, 2);
    clock.pass(20_000);
    assert.equal(wires.length, 2, "the planned attempt was cancelled");
  });
});

describe("requests", () => {
  test("are answered by id, in any order", async () => {
    const wire = opened();
    const [one, two] = [socket.request("a"), socket.request("b")];
    wire.answer(wire.sent[1].id, { result: 2 });
    wire.answer(wire.sent[0].id, { result: 1 });
    assert.deepEqual([await one, await two], [1, 2]);
  });

  test("that the server refuses carry its code and hint", async () => {
    const wire = opened();
    const call = socket.request("a");
    wire.answer(wire.sent[0].id, { error: { code: -32012, message: "no", data: { hint: "ask" } } });
    await assert.rejects(call, (error) => error instanceof RpcError && error.code === -32012 && error.hint === "ask");
  });

  test("end after their timeout, and a late answer is nobody's", async () => {
    const wire = opened();
    socket.setHeartbeat(3_600);
    const call = socket.request("a", {}, 2);
    clock.pass(2_000);
    await assert.rejects(call, NoAnswer);
    wire.answer(wire.sent[0].id, { result: 1 });
    assert.equal(socket.status.phase, "open");
  });

  test("end without an answer when the link is lost", async () => {
    const wire = opened();
    const call = socket.request("a");
    wire.onclose({ code: 1006 });
    await assert.rejects(call, NoAnswer);
  });

  test("are refused while there is no link", async () => {
    await assert.rejects(socket.request("a"), NoAnswer);
  });
});

describe("what comes in", () => {
  test("notifications are handed on; what is not JSON-RPC is ignored", () => {
    const wire = opened();
    wire.onmessage({ data: "not json" });
    wire.onmessage({ data: "[1]" });
    wire.onmessage({ data: new ArrayBuffer(1) });
    wire.onmessage({ data: JSON.stringify({ method: "mesh.changed", params: { rev: 1 } }) });
    assert.deepEqual(notifications, [["mesh.changed", { rev: 1 }]]);
  });

  test("an old WebSocket that speaks late is ignored", async () => {
    const old = opened();
    old.onclose({ code: 1006 });
    clock.pass(1_000);
    wires.at(-1).onopen();
    old.onmessage({ data: JSON.stringify({ method: "mesh.changed", params: {} }) });
    old.onclose({ code: 4001 });
    assert.equal(notifications.length, 0);
    assert.equal(socket.status.phase, "open");
  });
});

describe("liveness", () => {
  test("coming to the foreground asks, and any answer is proof, an error too", async () => {
    const wire = opened();
    socket.check();
    assert.equal(wire.sent[0].method, "ping");
    wire.answer(wire.sent[0].id, { error: { code: -32601, message: "no method ping" } });
    await settled();
    clock.pass(5_000);
    await settled();
    assert.equal(socket.status.phase, "open");
  });

  test("no answer in the foreground replaces the link", async () => {
    opened();
    clock.pass(11_000);
    wires[0].sent.length = 0;
    socket.check();
    clock.pass(4_000);
    await settled();
    assert.equal(wires[0].isClosed, true);
    assert.equal(wires.length, 2);
  });

  test("a silent link is asked after a heartbeat", () => {
    const wire = opened();
    socket.setHeartbeat(10);
    clock.pass(9_000);
    assert.equal(wire.sent.length, 0);
    clock.pass(2_000);
    assert.equal(wire.sent[0].method, "ping");
  });

  test("a link that talks is not asked", () => {
    const wire = opened();
    socket.setHeartbeat(10);
    for (let n = 0; n < 10; n += 1) {
      clock.pass(4_000);
      wire.onmessage({ data: JSON.stringify({ method: "x" }) });
    }
    assert.equal(wire.sent.length, 0);
  });

  test("coming to the foreground while waiting tries at once", async () => {
    socket.start();
    wires[0].onclose({ code: 1006 });
    await settled();
    socket.check();
    assert.equal(wires.length, 2);
  });

  test("stop leaves nothing behind", () => {
    opened();
    socket.stop();
    clock.pass(100_000);
    assert.equal(wires.length, 1);
    assert.equal(clock.timers.length, 0);
  });
});
