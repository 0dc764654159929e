// Fetches a page with one of node's HTTP libraries and prints it: get.mjs LIBRARY URL.
import https from 'node:https';

const [library, url] = process.argv.slice(2);

if (library === 'fetch') {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`status ${response.status}`);
  process.stdout.write(await response.text());
} else {
  https.get(url, (response) => response.pipe(process.stdout)).on('error', (error) => {
    throw error;
  });
}
