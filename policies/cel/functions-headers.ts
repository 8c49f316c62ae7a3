/** Views of headers, and the way to a secret. */
import { CelScalar, celMethod, isCelMap, mapType } from '@bufbuild/cel';
import type { CelFunc, CelMap } from '@bufbuild/cel';
import { cookie, headersOf, joinHeaders, rawHeaders, redactHeaders, splitHeaders, unredactHeaders } from './headers.ts';
import type { Headers } from './headers.ts';
import { REDACTED, isSecret, reveal } from './secrets.ts';

const { DYN, STRING } = CelScalar;
const MAP = mapType(DYN, DYN);

function of(map: CelMap): Headers {
  const headers = headersOf(map);
  if (headers === undefined) throw new Error('not the headers of a request');
  return headers;
}

export const headerFunctions: readonly CelFunc[] = [
  celMethod('join', MAP, [], MAP, function () { return joinHeaders(of(this)); }),
  celMethod('raw', MAP, [], MAP, function () { return rawHeaders(of(this)); }),
  celMethod('split', MAP, [], MAP, function () { return splitHeaders(of(this)); }),
  celMethod('cookie', MAP, [STRING], DYN, function (name) {
    const value = cookie(of(this), name);
    if (value === undefined) throw new Error('no such cookie');
    return value;
  }),
  celMethod('redacted', DYN, [], DYN, function () {
    if (isCelMap(this)) return redactHeaders(of(this));
    return isSecret(this) ? REDACTED : this;
  }),
  celMethod('unredacted', DYN, [], DYN, function () {
    const headers = isCelMap(this) ? headersOf(this) : undefined;
    return headers === undefined ? reveal(this) : unredactHeaders(headers);
  }),
];
