/**
 * What server-push is measured against: the same three calls, as one would write them with nothing but Bun.
 *
 * A session subscribes to the same up to four topics as one of ours, so the native work is the same. What is missing is
 * what server-push is for: no journal, no ids, no validation, no limits, no metrics, no documentation.
 */
interface Ids {
  readonly userid: string | null;
  readonly compid: string | null;
}

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  development: false,
  fetch(request, self) {
    const { pathname, searchParams } = new URL(request.url);
    const userid = searchParams.get("userid");
    const compid = searchParams.get("compid");
    switch (pathname) {
      case "/ws":
        if (self.upgrade(request, { data: { userid, compid } })) return;
        return new Response("expected a WebSocket handshake", { status: 426 });
      case "/push":
        self.publish(toTopic(userid, compid), searchParams.get("message") ?? "");
        return new Response("ok");
      case "/pushtoall":
        self.publish("all", searchParams.get("message") ?? "");
        return new Response("ok");
    }
    return new Response("not found", { status: 404 });
  },
  websocket: {
    data: {} as Ids, // a type only: this is how Bun.serve is told it
    perMessageDeflate: false,
    open(socket) {
      const { userid, compid } = socket.data;
      socket.subscribe("all");
      if (userid !== null) socket.subscribe(toTopic(userid, null));
      if (compid !== null) socket.subscribe(toTopic(null, compid));
      if (userid !== null && compid !== null) socket.subscribe(toTopic(userid, compid));
    },
    message() {},
  },
});

process.stdout.write(`${JSON.stringify({ msg: "listening", url: server.url.origin })}\n`);

function toTopic(userid: string | null, compid: string | null): string {
  return `user:${userid ?? ""} component:${compid ?? ""}`;
}
