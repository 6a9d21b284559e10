// Asks a service that serves the starter policies through the published client, on whatever runtime runs this: smoke.mjs URL
import { createClient } from 'verdict-pdp-client'

const url = (globalThis.Deno?.args ?? globalThis.process.argv.slice(2))[0]
const client = createClient({ urls: ['http://127.0.0.1:1', url], timeoutMs: 2_000 })
const ask = (id, name) => ({ subject: { type: 'user', id }, action: { name }, resource: { type: 'document', id: 'roadmap' } })
const answers = await client.decideMany([ask('alice', 'read'), ask('bob', 'update'), ask('nobody', 'read')])
const gone = await createClient({ urls: ['http://127.0.0.1:1'], timeoutMs: 300 }).decide(ask('alice', 'read'))
const said = [...answers, gone].map(({ decision }) => decision).join()
if (said !== 'true,false,false,false' || gone.context.error?.code !== 'ERR_CLIENT_UNREACHABLE')
  throw new Error(`not as it should be: ${said}`)
console.log('asked, and answered')
