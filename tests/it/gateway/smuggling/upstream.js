// An upstream in Node's own HTTP server: tells each request that it reads on a line, and ends with its input.
const http = require("node:http");

let malformed = 0;
const told = (line) => process.stdout.write(line + "\n");
const server = http.createServer((request, response) => {
  told(`${request.method} ${request.url}`);
  request.on("error", () => {});
  request.resume();
  request.on("end", () => response.end("ok"));
});
server.on("clientError", (error, socket) => {
  if (error.code && error.code.startsWith("HPE_") && error.code !== "HPE_INVALID_EOF_STATE") {
    malformed += 1;
    process.stderr.write(`${error.code}: ${JSON.stringify(String(error.rawPacket))}\n`);
  }
  socket.destroy();
});
server.on("upgrade", (request, socket) => {
  told(`${request.method} ${request.url}`);
  socket.end("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
});
server.listen(0, "127.0.0.1", () => told(`listening ${server.address().port}`));
process.stdin.resume();
process.stdin.on("end", () => {
  server.close(() => told(`malformed ${malformed}`));
  server.closeIdleConnections();
  setTimeout(() => server.closeAllConnections(), 200);
});
