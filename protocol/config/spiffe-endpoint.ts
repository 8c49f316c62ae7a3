/** Where a SPIFFE Workload API is: a socket, or an address and port (SPIFFE Workload Endpoint §4). Not a name, which somebody else could answer to. */
const ENDPOINT = /^(?:unix:(?:\/\/)?\/(?!\/)[^\0?#]{1,200}|tcp:(?:\/\/)?(?:\d{1,3}(?:\.\d{1,3}){3}|\[[\da-fA-F:]+\]):\d{1,5})$/;

export const isSpiffeEndpoint = (text: string): boolean => ENDPOINT.test(text);
