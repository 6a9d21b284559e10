// Roles as Rego: who a policy lets in, at which scope, and that a new revision is heard at once.
import { expect, test } from '@jest/globals'
import { admin, archiveOf } from './support/bundles.ts'
import { question, startTestService } from './support/service.ts'
import { tempFolder } from './support/temp-folder.ts'

const main = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow := true\n' }
const roles = (condition: string) => ({
  'authz.rego': `package system.authz\n\n# METADATA\n# entrypoint: true\nallow if {\n\t${condition}\n}\n`,
})

test('a policy gives roles to callers that are known; the administrator stays, and what is not there gives nothing', async () => {
  const files = tempFolder({ pep: 'token-of-pep-0123456789012', ops: 'token-of-ops-0123456789012' })
  const service = await startTestService(undefined, {
    bundles: [{ name: 'main', path: tempFolder(main) }, { name: 'system' }],
    'authentication.policy': 'system:system/authz/allow',
    'authentication.callers': [
      { id: 'pep', tokenFile: `${files}/pep`, roles: ['audit'] },
      { id: 'ops', tokenFile: `${files}/ops`, roles: ['audit'] },
    ],
  })
  const decide = async (name: 'pep' | 'ops') =>
    (await service.decide({ ...question, policy: 'main' }, { authorization: `Bearer token-of-${name}-0123456789012` })).status
  const push = (condition: string) => archiveOf(roles(condition)).then((archive) => admin(service, 'PUT', '/v1/bundles/system', archive))
  expect([await decide('pep'), await decide('ops')]).toEqual([403, 403])
  expect((await push('input.caller.id == "pep"\n\tinput.role == "decide"')).json.active).toBe(true)
  expect([await decide('pep'), await decide('ops')]).toEqual([200, 403])
  const gc = (token: string) => admin(service, 'POST', '/v1/bundles/gc', {}, token)
  expect((await gc('token-of-ops-0123456789012')).status).toBe(403)
  expect((await push('input.caller.id == "ops"\n\tinput.role in ["decide", "operate"]')).json.active).toBe(true)
  expect([await decide('pep'), await decide('ops')]).toEqual([403, 200])
  expect((await gc('token-of-ops-0123456789012')).status).toBe(200)
  // A policy that fails gives nothing, and takes nothing from the administrator.
  expect((await push('input.caller.id == ["ops"][1 - 2]')).json.active).toBe(true)
  expect([await decide('pep'), await decide('ops')]).toEqual([403, 403])
  expect((await admin(service, 'GET', '/v1/acts')).status).toBe(200)
  await service.stop()
})
