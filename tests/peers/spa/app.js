// One page, many paths: the browser keeps the address, and this shows what it names.
const places = { lisbon: 'On seven hills, by the Tagus.', kyoto: 'Between mountains on three sides.', quito: 'At 2,850 metres.' };

function show() {
  const name = location.pathname.split('/')[2];
  document.querySelector('h1').textContent = name ? name[0].toUpperCase() + name.slice(1) : 'Places';
  document.querySelector('p').textContent = name ? places[name] ?? 'Nobody has been there.' : 'Choose one above. Each has an address of its own, which may be reloaded.';
  for (const a of document.querySelectorAll('nav a')) a.toggleAttribute('aria-current', a.pathname === location.pathname);
}

document.querySelector('nav').addEventListener('click', (event) => {
  if (!event.target.href) return;
  event.preventDefault();
  history.pushState(null, '', event.target.href);
  show();
});
addEventListener('popstate', show);
show();
