// verdict drill revoke, and the commands beside it, against a service that runs.
import { expect, test } from '@jest/globals'
import { runCli } from '../support/cli.ts'
import { startTestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

/** Its decisions are given again, by the service and by the client. */
const policy = {
  'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\n# custom:\n#   cache:\n#     max_age_ms: 60000\nallow := true\n',
}

test('every door refuses within 100 ms of the answer, and lets in again; the trail says who', async () => {
  const files = tempFolder({ pep: 'token-of-pep-0123456789012' })
  const service = await startTestService(policy, {
    'authentication.callers': [{ id: 'pep', tokenFile: `${files}/pep`, roles: ['decide'] }],
  })
  const at = ['--server', service.url, '--state', service.state]
  const drill = ['drill', 'revoke', '--caller', 'pep', '--caller-token', 'token-of-pep-0123456789012', '--grpc', service.grpcAddress, ...at]
  const { code, stdout } = await runCli([...drill, '--json'])
  const report = JSON.parse(stdout)
  expect(report.doors.map(({ door }: { door: string }) => door)).toEqual([
    'thin client',
    'http /v1/decide',
    'http /access/v1/evaluation',
    'http /v1/data',
    'http /v1/auth/traefik',
    'http /v1/auth/envoy',
    'grpc Decide',
    'grpc Check',
  ])
  for (const one of report.doors) {
    expect(one).toMatchObject({ restored: true })
    expect([one.door, one.before > 0, one.refusals > 0, one.last_admission_ms < 100, one.first_refusal_ms < 100]).toEqual([
      one.door,
      true,
      true,
      true,
      true,
    ])
  }
  expect([code, report.passed, report.skipped]).toEqual([0, true, []])
  const listed = await runCli(['revocations', 'list', ...at])
  expect(listed.stdout).toMatch(/over caller pep by token:admin .* ended by token:admin \(drill\)/)
  const wrong = await runCli([...drill.slice(0, 5), 'wrong-token-0123456789012', ...drill.slice(6)])
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('nothing to measure')])
  const added = await runCli(['quarantines', 'add', 'subject', 'alice', '--allow', 'read', '--reason', 'odd hours', ...at])
  expect(added.stdout).toMatch(/holds subject alice but read by token:admin .* \(odd hours\)/)
  const [id] = added.stdout.split(' ') as [string]
  expect((await runCli(['quarantines', 'release', id, ...at])).stdout).toContain('over')
  expect((await runCli(['revocations', 'add', 'caller', 'x', '--expires-in-s', 'soon', ...at])).code).toBe(2)
  await service.stop()
}, 60_000)
