
(() => {
  'use strict';
  const ACCEPT = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
  const SHOWN = 1 << 20, PENDING = 'l402.pending', BOUGHT = 'l402.bought';
  /* After these words of the seller's a token opens nothing any more, here or elsewhere. */
  const DEAD = ['spent', 'expired', 'revoked', 'restores_exhausted', 'exhausted', 'unknown_epoch'];
  /* What was refused on this page, and is good for something else or later. */
  const useless = new Set();
  const $ = (id) => document.getElementById(id);
  const at = location.href.split('#')[0];
  let offer, clock, fetching = false;

  const read = (store, key) => {
    try {
      const list = JSON.parse(store.getItem(key));
      return Array.isArray(list) ? list : [];
    } catch { return []; }
  };
  const keep = (store, key, list, most) => {
    try { store.setItem(key, JSON.stringify(list.slice(-most))); } catch { /* not kept, then */ }
  };
  const stores = () => {
    try { return [sessionStorage, localStorage]; } catch { return [null, null]; }
  };
  const [session, local] = stores();

  const say = (text) => { $('said').textContent = text; };
  const element = (name, text, act) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (act) made.addEventListener('click', act);
    return made;
  };
  const button = (text, act) => {
    const made = element('button', text, act);
    made.type = 'button';
    return made;
  };
  const busy = (on) => {
    for (const one of document.querySelectorAll('main button')) one.disabled = on;
  };
  const size = (bytes) => bytes < 1000 ? bytes + ' bytes'
    : bytes < 1e6 ? (bytes / 1e3).toFixed(1) + ' kB' : (bytes / 1e6).toFixed(1) + ' MB';

  async function copy(text, on) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = element('textarea');
      field.value = text;
      document.body.append(field);
      field.select();
      document.execCommand('copy');
      field.remove();
    }
    const before = on.textContent;
    on.textContent = 'Copied';
    setTimeout(() => { on.textContent = before; }, 2000);
  }

  /* ---- the offer that the page shows ---- */

  function begin() {
    const main = document.querySelector('main');
    offer = { ...main.dataset, began: performance.now() };
    // Whoever pays and reloads meets another invoice: the token of the one that was paid must not be lost.
    const pending = read(session, PENDING).filter((one) => one.hash !== offer.hash);
    const { hash, macaroon, kind, service, words, until, unlock } = offer;
    keep(session, PENDING, [...pending, { hash, macaroon, kind, service, words, until, unlock, at }], 16);
    $('copy').hidden = false;
    $('programs').open = false;
    $('copy').addEventListener('click', () => copy(offer.invoice, $('copy')));
    $('proof').hidden = false;
    $('proof').addEventListener('submit', (event) => { event.preventDefault(); prove($('preimage').value); });
    main.classList.toggle('live', offer.again === 'true');
    for (const choice of main.querySelectorAll('[name=offer]')) {
      choice.addEventListener('change', () => choose(choice.value));
    }
    webln();
    mine();
    watch(offer);
    clearInterval(clock);
    clock = setInterval(tick, 1000);
    tick();
  }

  function tick() {
    const left = Math.ceil(offer.expiry - (performance.now() - offer.began) / 1000);
    if (left > 0) {
      const two = (number) => String(number).padStart(2, '0');
      const hours = Math.floor(left / 3600), minutes = Math.floor(left / 60) % 60;
      const time = (hours ? hours + ':' + two(minutes) : minutes) + ':' + two(left % 60);
      $('time').textContent = 'Scan it with a Lightning wallet. ' + time + ' left.';
      return;
    }
    clearInterval(clock);
    document.querySelector('.qr')?.remove();
    for (const id of ['wallet', 'copy', 'here', 'text']) $(id)?.remove();
    $('time').textContent = 'This invoice is over. If you paid it, its preimage is still good. ';
    if (offer.again === 'true') $('time').append(button('New invoice', () => choose(chosen())));
  }

  const chosen = () => document.querySelector('[name=offer]:checked')?.value;

  async function choose(name) {
    if (offer.again !== 'true') return;
    try {
      const headers = { Accept: ACCEPT };
      if (name) headers.Prefer = 'l402-offer=' + name;
      const answer = await fetch(at, { headers, cache: 'no-store' });
      if (answer.status === 429) return say('Too many invoices were asked for. Try again in a minute.');
      const fresh = answer.status === 402 && await parsed(answer);
      if (!fresh) return location.reload();
      swap(fresh);
      document.querySelector('[name=offer]:checked')?.focus();
    } catch {
      say('The seller cannot be reached. Try again.');
    }
  }

  async function parsed(answer) {
    const text = await answer.text();
    return new DOMParser().parseFromString(text, 'text/html').querySelector('main[data-macaroon]');
  }

  function swap(fresh) {
    document.querySelector('main').replaceWith(document.adoptNode(fresh));
    begin();
  }

  /* ---- the proof ---- */

  function webln() {
    if (!window.webln || !$('here')?.hidden) return;
    $('here').hidden = false;
    $('wallet').classList.remove('main');
    $('here').addEventListener('click', async () => {
      busy(true);
      say('Waiting for your wallet…');
      try {
        await window.webln.enable();
        const { preimage } = await window.webln.sendPayment(offer.invoice);
        await prove(preimage);
      } catch (error) {
        say('The wallet did not pay: ' + (error?.message || 'no reason given') + '.');
      }
      busy(false);
    });
  }

  async function hashed(hex) {
    if (!window.isSecureContext || !crypto.subtle) return null;
    const bytes = Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  async function prove(text) {
    const preimage = String(text).trim().toLowerCase();
    if (!/^[0-9a-f]{64}$/.test(preimage)) {
      say('A preimage is 64 characters of 0–9 and a–f. This is ' + (/^ln/.test(preimage) ? 'an invoice.' : 'not one.'));
      return $('preimage').focus();
    }
    const hash = await hashed(preimage);
    const token = hash === null ? offer : read(session, PENDING).concat(offer).find((one) => one.hash === hash);
    if (!token) {
      say('This is not the preimage of this invoice. Nothing was sent.');
      return $('preimage').focus();
    }
    await redeem(bought(token, preimage));
  }

  /* ---- where the seller lets this browser in once the payment arrived ---- */

  async function watch(current) {
    // A phone may have reloaded the page while its wallet paid: the invoices before this one count too.
    const asked = read(session, PENDING).filter((one) => one.unlock === 'true' && one.at === at).slice(-3).reverse();
    const most = Number(current.expiry) + 300;
    for (let tries = 0; offer === current && asked.length && (performance.now() - current.began) / 1000 < most; tries += 1) {
      for (const token of [...asked]) {
        if (fetching || document.hidden) break;
        const answer = await fetch('/.well-known/l402/unlock', { headers: { Authorization: 'L402 ' + token.macaroon }, cache: 'no-store' }).catch(() => null);
        if (offer !== current || fetching) return;
        if (answer?.ok) {
          const { state, proof } = await answer.json();
          if (state === 'paid') return redeem(bought(token, proof));
          if (token.hash === current.hash) $('wait').hidden = false;
        } else if (answer && answer.status < 500 && answer.status !== 429) {
          asked.splice(asked.indexOf(token), 1);
        }
      }
      await wait(tries < 60 ? 2000 : 5000);
    }
  }

  /* ---- what was bought before, in this browser ---- */

  const bought = ({ kind, service, words, until, hash, macaroon }, proof) =>
    ({ kind, service, words, until, hash, at, auth: 'L402 ' + macaroon + ':' + proof });

  const fits = (one) => one.until * 1000 > Date.now() && one.service === offer.service
    && (one.kind !== 'request' || one.at === at) && !useless.has(one.hash);

  function mine() {
    const good = [...read(session, BOUGHT), ...read(local, BOUGHT)].filter(fits).slice(-3);
    const row = $('mine');
    row.replaceChildren(...good.map((one) => button('Use what you bought: ' + rest(one), () => redeem(one))));
    row.hidden = good.length === 0;
  }

  const rest = ({ words, left }) => left ? words + ', ' + left + ' left' : words;

  function remember(one) {
    const [store, most] = one.kind === 'request' ? [session, 8] : [local, 32];
    keep(store, BOUGHT, [...read(store, BOUGHT).filter((old) => old.hash !== one.hash), one], most);
  }

  function forget(one) {
    for (const store of [session, local]) {
      keep(store, BOUGHT, read(store, BOUGHT).filter((old) => old.hash !== one.hash), 32);
    }
  }

  const settled = (one) => keep(session, PENDING, read(session, PENDING).filter((old) => old.hash !== one.hash), 16);

  /* ---- the resource ---- */

  const word = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));

  async function redeem(one) {
    if (fetching) return;
    fetching = true;
    busy(true);
    try {
      await deliver(one);
    } finally {
      fetching = false;
      busy(false);
    }
  }

  async function deliver(bought) {
    if (offer.again !== 'true') {
      paying(false);
      clearInterval(clock);
      $('line').textContent = 'Authorization: ' + bought.auth;
      $('programs').open = true;
      return say('Your token is complete. This page cannot send your request again: send it with the header that is shown under “For programs”.');
    }
    paying(false);
    say('Paid. Fetching…');
    remember(bought);
    // The same word gets the same answer again, should the connection break.
    const headers = { Accept: ACCEPT, Authorization: bought.auth, 'Idempotency-Key': bought.kind === 'request' ? bought.hash : word() };
    let text = 'The connection broke off.';
    for (let tries = 0; tries < 6; tries += 1) {
      let answer;
      try {
        answer = await fetch(at, { headers, cache: 'no-store' });
      } catch { /* the connection: again */ }
      if (answer?.status === 402) return refused(await parsed(answer), bought);
      if (answer?.status === 409) {
        text = 'Another request with this token is still under way.';
      } else if (answer) {
        const unit = answer.headers.get('X-Tollhouse-Unit');
        if (unit !== 'restored' && unit !== 'exhausted' && (unit !== null || answer.ok)) return show(answer, bought);
        const problem = await answer.json().catch(() => ({}));
        text = problem.detail || 'The seller’s server failed (' + answer.status + ').';
        if (unit === 'exhausted') {
          over(bought);
          clearInterval(clock);
          return say(problem.detail || text + ' It failed so often that what you paid for is not accepted any more. Ask the seller.');
        }
        break;
      }
      await wait(1000 * Math.max(1, Math.min(5, Number(answer?.headers.get('Retry-After')) || tries)));
    }
    clearInterval(clock);
    say(text + ' You have not lost what you paid for. ');
    const again = button('Try again', () => redeem(bought));
    again.className = 'main';
    $('said').append(again);
  }

  /* Who has paid meets no invoice beside what became of it: nobody shall pay twice. */
  const paying = (on) => document.querySelector('main').classList.toggle('bought', !on);

  function over(one) {
    forget(one);
    settled(one);
  }

  function usedUp({ kind, words }) {
    switch (kind) {
      case 'request': return 'Your one request was made already. Buy another below.';
      case 'pack': return 'Your ' + words + ' are used up. Buy more below.';
      case 'balance': return 'Your balance is used up. Buy more below.';
    }
  }

  function refused(fresh, bought) {
    const code = fresh?.dataset.code;
    if (code === 'preimage_mismatch' || code === 'preimage_missing') {
      forget(bought);
      paying(true);
      say('This is not the preimage of this invoice. Nothing was charged.');
      return $('preimage').focus();
    }
    const dead = DEAD.includes(code);
    if (dead) {
      over(bought);
    } else {
      useless.add(bought.hash);
      settled(bought);
    }
    if (!fresh) return location.reload();
    swap(fresh);
    say('');
    const notice = document.querySelector('.refusal');
    if (notice && code === 'spent') notice.textContent = usedUp(bought) ?? notice.textContent;
    if (notice && !dead) notice.append(' What you bought stays in this browser.');
    notice?.scrollIntoView({ block: 'center' });
  }

  function name(answer) {
    const line = answer.headers.get('Content-Disposition') || '';
    const starred = /filename\*=UTF-8''([^;]+)/i.exec(line), plain = /filename="?([^";]+)/i.exec(line);
    try { if (starred) return decodeURIComponent(starred[1]); } catch { /* the plain one */ }
    const last = new URL(at).pathname.split('/').pop();
    return (plain && plain[1]) || decodeURIComponent(last) || 'answer';
  }

  async function show(answer, bought) {
    clearInterval(clock);
    settled(bought);
    const media = (answer.headers.get('Content-Type') || '').split(';')[0].trim().toLowerCase();
    const left = answer.headers.get('X-Tollhouse-Left');
    const json = /^application\/(json|[^;]+\+json)$/.test(media);
    const words = !json && media !== 'text/html' && (/^text\//.test(media) || /^application\/([^;]+\+)?(xml|javascript)$/.test(media));
    $('result').hidden = false;
    $('got').textContent = 'Receiving…';
    $('shown').replaceChildren();
    $('after').replaceChildren();
    document.querySelector('main').hidden = true;
    $('got').focus();

    const parts = [], decoder = new TextDecoder(), pre = element('pre');
    let bytes = 0, broken = false;
    try {
      const reader = answer.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        parts.push(value);
        bytes += value.length;
        $('got').textContent = 'Receiving… ' + size(bytes);
        if (words && pre.textContent.length < SHOWN) {
          if (!pre.isConnected) $('shown').append(pre);
          pre.append(decoder.decode(value, { stream: true }));
        }
      }
    } catch { broken = true; }

    const blob = new Blob(parts, { type: media || 'application/octet-stream' });
    const url = URL.createObjectURL(blob);
    const save = element('a', 'Save file (' + size(bytes) + ')');
    save.className = 'button';
    save.href = url;
    save.download = name(answer);
    if (json && bytes < SHOWN) {
      const text = await blob.text();
      try { pre.textContent = JSON.stringify(JSON.parse(text), null, 2); } catch { pre.textContent = text; }
      $('shown').append(pre);
    } else if (media === 'text/html' && bytes < 8 * SHOWN) {
      const frame = element('iframe');
      frame.setAttribute('sandbox', '');
      frame.title = 'What you paid for';
      frame.srcdoc = await blob.text();
      $('shown').append(frame);
    } else if (/^(image|audio|video)\//.test(media)) {
      const seen = element(media.startsWith('image') ? 'img' : media.split('/')[0]);
      if (media.startsWith('image')) seen.alt = 'What you paid for'; else seen.controls = true;
      seen.src = url;
      $('shown').append(seen);
    } else if (!words && bytes > 0) {
      save.click();
    }

    $('got').textContent = broken ? 'The answer broke off' : answer.ok ? 'Here it is' : 'The seller’s server answered ' + answer.status;
    $('kept').textContent = kept(bought, left);
    if (bytes > 0) $('after').append(save);
    const credential = button('Copy the credential', () => copy('Authorization: ' + bought.auth, credential));
    if (bought.kind === 'request') {
      if (!broken) forget(bought);
      else $('after').append(button('Fetch it again', () => { back(); redeem(bought); }));
    } else {
      remember({ ...bought, left: remains(bought, left) });
      $('after').append(button('Ask again', () => { back(); redeem(bought); }), credential);
    }
    $('got').focus();
  }

  function back() {
    $('result').hidden = true;
    document.querySelector('main').hidden = false;
  }

  function remains({ kind }, left) {
    if (left === null) return undefined;
    switch (kind) {
      case 'pack': return Number(left).toLocaleString('en');
      case 'balance': return (Number(left) / 1000).toLocaleString('en') + ' sat';
    }
  }

  function kept(bought, left) {
    const grouped = Number(left).toLocaleString('en');
    const here = ' This browser keeps it for your next visits.';
    switch (bought.kind) {
      case 'pack': return grouped + ' more requests are paid for.' + here;
      case 'pass': return 'Your pass is open.' + here;
      case 'balance': return (Number(left) / 1000).toLocaleString('en') + ' sat of your balance are left.' + here;
      default: return 'It was paid for once: save it if you want to keep it.';
    }
  }

  begin();
  window.addEventListener('webln:ready', webln, { once: true });
})();
