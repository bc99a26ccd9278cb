// Says whether the engine is ready, and fills this service's address into the calls.
const STATES = {
  200: ["ready", "The engine is ready."],
  204: ["starting", "The engine is starting; jobs are taken in already."],
  503: ["dead", "The engine is dead: the service's log says why."],
};

async function tell() {
  const place = document.getElementById("state");
  try {
    const [name, words] = STATES[(await fetch("/ping", { cache: "no-store" })).status];
    place.className = name;
    place.textContent = words;
  } catch {
    place.className = "dead";
    place.textContent = "The service does not answer.";
  }
  setTimeout(tell, 5000);
}

async function askForKey() {
  const needed = await fetch("/health").then((answer) => answer.status === 401, () => false);
  document.getElementById("login").hidden = !needed;
  for (const one of document.querySelectorAll(".key")) one.hidden = !needed;
}

for (const one of document.querySelectorAll(".here")) one.textContent = location.origin;
tell();
askForKey();
