// Decides in this process through the published package, for a service that serves the starter policies: smoke.mjs URL FILE_OF_TOKEN
import { readFileSync } from 'node:fs'
import { createEmbedded } from 'verdict-pdp/embedded'

const [url, tokenFile] = process.argv.slice(2)
const embedded = await createEmbedded({ urls: [url], token: readFileSync(tokenFile, 'utf8').trim(), bundles: [{ name: 'main' }] })
const ask = (id, name) => ({ subject: { type: 'user', id }, action: { name }, resource: { type: 'document', id: 'roadmap' } })
const answers = await embedded.decideMany([ask('alice', 'read'), ask('bob', 'update'), ask('nobody', 'read')])
await embedded.close()
const said = `${answers.map(({ decision }) => decision).join()} ${embedded.counts.here}`
if (said !== 'true,false,false 3') throw new Error(`not as it should be: ${said}`)
console.log('decided here')
