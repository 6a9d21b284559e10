// The thin client: questions to a running service over HTTP, with nothing but what every JavaScript runtime has (fetch, timers, abort
// signals, random numbers). Calls of one turn share a request; every doubt ends in a deny.
export { type Answer, denied, type Question } from './answer.ts'
export { type CallOptions, type Client, type ClientOptions, createClient } from './client.ts'
export type { KeepOptions } from './kept.ts'
