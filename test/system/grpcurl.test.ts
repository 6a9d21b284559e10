// A client that knows the services only by reflection, where GRPCURL_PROGRAM names it.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from '@jest/globals'
import { question, startTestService } from '../support/service.ts'

const program = process.env.GRPCURL_PROGRAM
const suite = program === undefined ? describe.skip : describe
const policy = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "alice"\n' }

suite('grpcurl', () => {
  test('finds every service by reflection, and asks each', async () => {
    const service = await startTestService(policy)
    const run = async (...args: string[]) => (await promisify(execFile)(program as string, ['-plaintext', ...args])).stdout
    const list = (await run(service.grpcAddress, 'list')).trim().split('\n')
    expect(list).toEqual(
      expect.arrayContaining(['envoy.service.auth.v3.Authorization', 'grpc.health.v1.Health', 'verdict.v1.DecisionService']),
    )
    const message = JSON.stringify({ ...question, context: { a: [1, { b: null }] } })
    expect(JSON.parse(await run('-d', message, service.grpcAddress, 'verdict.v1.DecisionService/Decide'))).toMatchObject({
      decision: { decision: true },
    })
    const batch = JSON.stringify({ ...question, evaluations: [{}, { subject: { type: 'user', id: 'bob' } }] })
    const { decisions } = JSON.parse(await run('-d', batch, service.grpcAddress, 'verdict.v1.DecisionService/DecideBatch'))
    expect(decisions.map(({ decision = false }) => decision)).toEqual([true, false])
    const check = JSON.stringify({ attributes: { request: { http: { method: 'GET', path: '/', host: 'h' } } } })
    expect(JSON.parse(await run('-d', check, service.grpcAddress, 'envoy.service.auth.v3.Authorization/Check'))).toMatchObject({
      status: { code: 7 },
    })
    expect(JSON.parse(await run(service.grpcAddress, 'grpc.health.v1.Health/Check'))).toEqual({ status: 'SERVING' })
    await service.stop()
  })
})
