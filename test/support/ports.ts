// Servers of other programs beside a test or a bench: a port for one, and waiting until it answers.
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/** Waits for an answer that is no failure. @throws Error after a minute */
export async function untilUp(url: string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    const isUp = await fetch(url).then(
      (response) => response.ok,
      () => false,
    )
    if (isUp) return
    await sleep(100)
  }
  throw new Error(`${url} did not get ready`)
}
