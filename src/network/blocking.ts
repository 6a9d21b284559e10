// The network as a running policy needs it: a call that returns with the answer. For threads that may sleep.
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads'

/** How long to wait beyond the request's own time-out before giving the network thread up. Milliseconds. */
const graceMs = 5_000

/**
 * @param port to the network thread
 * @param signal 4 bytes that the network thread sets to 1 when the answer is on the port
 * @param fields of headers for the trace that the next request belongs to
 * @returns answers one request as JSON text; never throws
 */
export function createBlockingNetwork(
  port: MessagePort,
  signal: SharedArrayBuffer,
  timeoutMs: number,
  fields: () => Readonly<Record<string, string>> = () => ({}),
): (request: Uint8Array) => Uint8Array {
  const woken = new Int32Array(signal)
  return (request) => {
    Atomics.store(woken, 0, 0)
    port.postMessage({ ...JSON.parse(Buffer.from(request).toString()), fields: fields() })
    Atomics.wait(woken, 0, 0, timeoutMs + graceMs)
    const received = receiveMessageOnPort(port) as { message: string } | undefined
    return Buffer.from(received?.message ?? '{"error":"the network did not answer","timeout":true}')
  }
}
