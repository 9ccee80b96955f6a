for (const range of document.querySelectorAll('input.wipe')) {
  const move = () => range.closest('.compare').style.setProperty('--at', range.value + '%');
  range.addEventListener('input', move);
  move();
}
