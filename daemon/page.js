'use strict';
(() => {
  const EVERY = 2000, MOST = 10000, PATIENCE = 5000;
  const fresh = document.getElementById('fresh');
  const all = selector => [...document.querySelectorAll(selector)];
  let answered = Date.now(), took = 0, timer, paused = false;

  const say = (text, old) => {
    if (fresh.firstChild.data !== text)
      fresh.firstChild.data = text;
    document.body.classList.toggle('old', old);
  };

  // A person who marks something to copy it does not want it gone.
  const marking = () => { const s = getSelection(); return s && !s.isCollapsed; };

  const swap = (selector, page, force) => {
    const now = document.querySelector(selector), next = page.querySelector(selector);
    if (!next || (!force && now.outerHTML === next.outerHTML))
      return;
    const scrolled = new Map(all('.box').map(box => [box.id, box.scrollLeft]));
    const focused = document.activeElement && document.activeElement.id;
    if (now.getAttribute('aria-live')) {
      now.className = next.className;
      now.replaceChildren(...next.childNodes);
    } else {
      now.replaceWith(next);
    }
    all('.box').forEach(box => { box.scrollLeft = scrolled.get(box.id) || 0; });
    if (focused && document.getElementById(focused) !== document.activeElement)
      document.getElementById(focused)?.focus({preventScroll: true});
  };

  const take = text => {
    const page = new DOMParser().parseFromString(text, 'text/html');
    const ours = document.querySelector('script'), theirs = page.querySelector('script');
    if (!theirs)
      throw new Error('not the status page');
    if (ours.text !== theirs.text)
      return location.reload();          // another version of the daemon
    document.title = page.title;
    document.querySelector('link[rel=icon]').href = page.querySelector('link[rel=icon]').href;
    swap('#verdict', page, false);
    swap('main', page, true);
    document.dispatchEvent(new Event('refreshed'));
  };

  const ask = async () => {
    clearTimeout(timer);
    if (paused || document.hidden)
      return;
    const began = Date.now();
    try {
      const answer = await fetch('', {cache: 'no-store', signal: AbortSignal.timeout(PATIENCE)});
      const text = await answer.text();
      if (!answer.ok)
        throw new Error(`status ${answer.status}`);
      answered = Date.now();
      took = answered - began;
      if (marking())
        say('The page waits while you have something marked.', false);
      else {
        take(text);
        say(`This page comes anew every ${Math.round(pause() / 1000)} s.`, false);
      }
    } catch (error) {
      document.dispatchEvent(new Event('unanswered'));
    }
    timer = setTimeout(ask, pause());
  };

  // Of a large page, a tenth of the time at most.
  const pause = () => Math.min(MOST, Math.max(EVERY, 10 * took));

  setInterval(() => {
    const silent = Math.round((Date.now() - answered) / 1000);
    if (!paused && !document.hidden && silent * 1000 > pause() + 2000)
      say(`No answer from the daemon for ${silent} s: what you see is old.`, true);
  }, 1000);

  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Pause';
  button.addEventListener('click', () => {
    paused = !paused;
    button.textContent = paused ? 'Go on' : 'Pause';
    if (paused)
      say('Paused: this page does not change.', false);
    else
      ask();
  });
  fresh.append(' ', button);

  document.addEventListener('visibilitychange', ask);
  say(`This page comes anew every ${EVERY / 1000} s.`, false);
  timer = setTimeout(ask, EVERY);
})();
