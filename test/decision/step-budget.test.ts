import { describe, expect, test } from '@jest/globals'
import type { Caller, DecisionRequest } from '../../src/decision/request.ts'
import { withStepBudget } from '../../src/decision/step-budget.ts'
import { codeOf } from '../support/code-of.ts'

function setUp(steps: number) {
  let time = 0
  const decider = withStepBudget(
    { decide: () => ({ outcome: 'allow', maxAgeMs: 0, cached: false, steps }) },
    { stepsPerSecond: 1_000, now: () => time },
  )
  return {
    ask: (caller: Partial<Caller>) => codeOf(() => decider.decide({ caller: { authenticated: true, ...caller } } as DecisionRequest)),
    wait: (ms: number) => {
      time += ms
    },
  }
}

describe('a budget of steps', () => {
  test('is used up, fills again with time, and never above a second', () => {
    const { ask, wait } = setUp(600)
    expect(ask({ id: 'a' })).toBe('accepted')
    expect(ask({ id: 'a' })).toBe('accepted')
    expect(ask({ id: 'a' })).toBe('ERR_OVERLOADED')
    wait(150)
    expect(ask({ id: 'a' })).toBe('ERR_OVERLOADED')
    wait(100)
    expect(ask({ id: 'a' })).toBe('accepted')
    wait(60_000)
    expect([ask({ id: 'a' }), ask({ id: 'a' }), ask({ id: 'a' })]).toEqual(['accepted', 'accepted', 'ERR_OVERLOADED'])
  })

  test('is one for each identity, and for each address where there is none', () => {
    const { ask } = setUp(5_000)
    expect([ask({ id: 'a', address: '10.0.0.1' }), ask({ id: 'b', address: '10.0.0.1' }), ask({ address: '10.0.0.1' })]).toEqual([
      'accepted',
      'accepted',
      'accepted',
    ])
    expect(ask({ id: 'a', address: '10.0.0.2' })).toBe('ERR_OVERLOADED')
    expect(ask({ address: '10.0.0.1' })).toBe('ERR_OVERLOADED')
    expect(ask({ address: '10.0.0.2' })).toBe('accepted')
  })

  test('does not bind callers of the same machine that have no identity', () => {
    const { ask } = setUp(5_000)
    for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1', undefined]) {
      expect([ask({ address }), ask({ address })]).toEqual(['accepted', 'accepted'])
    }
  })

  test('forgets callers whose budget is full, not the others', () => {
    const { ask, wait } = setUp(5_000)
    ask({ id: 'first' })
    for (let i = 0; i < 10_005; i++) ask({ id: `many ${i}` })
    expect(ask({ id: 'first' })).toBe('ERR_OVERLOADED')
    wait(10_000)
    expect(ask({ id: 'first' })).toBe('accepted')
  })
})
