import { describe, expect, test } from '@jest/globals'
import { createReach } from '../../src/network/reach.ts'

describe('hosts', () => {
  const reach = createReach(['api.example.com', '*.example.org:8443', '127.0.0.1:9000', '10.1.0.0/16', '[::1]:80', '2001:db8::1'])
  test.each<[string, number | undefined, boolean]>([
    ['api.example.com', 443, true],
    ['API.Example.com.', 80, true],
    ['api.example.com', undefined, true],
    ['x.api.example.com', 443, false],
    ['example.com', 443, false],
    ['api.example.com.evil.net', 443, false],
    ['a.example.org', 8443, true],
    ['a.b.example.org', 8443, true],
    ['a.example.org', 443, false],
    ['example.org', 8443, false],
    ['evilexample.org', 8443, false],
    ['127.0.0.1', 9000, true],
    ['127.0.0.1', 9001, false],
    ['127.0.0.2', 9000, false],
    ['10.1.2.3', 1, true],
    ['10.2.2.3', 1, false],
    ['[::1]', 80, true],
    ['[::1]', 81, false],
    ['2001:db8::1', 5, true],
    ['', 80, false],
  ])('%s port %s: %s', (host, port, allowed) => expect(reach.allowsHost(host, port)).toBe(allowed))
})

describe('addresses that a name leads to', () => {
  const reach = createReach(['api.example.com', '10.1.0.0/16', '10.9.0.1:80', '10.9.0.2:443'])
  test.each<[string, boolean]>([
    ['93.184.216.34', true],
    ['2606:2800:220:1::1', true],
    ['127.0.0.1', false],
    ['::1', false],
    ['169.254.169.254', false],
    ['10.0.0.1', false],
    ['10.1.0.1', true],
    ['10.9.0.1', false],
    ['10.9.0.2', true],
    ['172.31.0.1', false],
    ['192.168.1.1', false],
    ['100.64.0.1', false],
    ['::ffff:127.0.0.1', false],
    ['::ffff:7f00:1', false],
    ['fd00::1', false],
    ['fe80::1', false],
    ['0.0.0.0', false],
  ])('%s: %s', (address, allowed) => expect(reach.allowsAddress(address, 443)).toBe(allowed))
})
